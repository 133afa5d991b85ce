"""artifact -> a table: records a core of the service scores, by processor time, and its memory.

    python -m benchmarks.sizing ARTIFACT RECORDS.csv

What deploy/README.md sizes by. Processor time, not the clock: who else uses the machine matters
little then. Each size of request meets a service of its own, so that memory is of that size.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.load import POST
from benchmarks.results import write_section
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.files.frames import checked_table

BIN = Path(sys.executable).parent
FILE_ROWS = 600_000
LOADS = ((1, 64), (10, 32), (100, 16), (1000, 8))  # records a request, connections
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Size:
    """The cost of one load."""

    records: int  # a request
    rate: float  # records a second of processor time
    at_rest: float  # MB
    most: float  # MB


def write_scripts(folder: Path, artifact: Path, records: Path) -> None:
    """Write a body and a wrk script for each size of request."""
    schema, most = read_artifact(artifact).schema, max(size for size, _ in LOADS)
    table = checked_table(schema, pl.read_csv(records, infer_schema=False, n_rows=most))
    rows = [{c.name: table.observed(i, c) for c in schema.columns} for i in range(len(table))]
    for size, _ in LOADS:
        body = folder / f"{size}.json"
        body.write_text(json.dumps({"records": rows[:size]}))
        (folder / f"{size}.lua").write_text(POST.replace("{body}", str(body)))


@contextmanager
def server(artifact: Path) -> Iterator[tuple[int, str]]:
    """Start a service of one worker; yield its pid and address."""
    words = [str(BIN / "vaewatch"), "serve", str(artifact), "--port", "0", "--no-access-log"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("listening on "):
                yield process.pid, line.split()[-1]
                return
        raise RuntimeError("the service did not start")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def ask(url: str, folder: Path, records: int, connections: int, seconds: int) -> None:
    """Run wrk for some seconds; every request must be answered with 200."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    words += ["-s", str(folder / f"{records}.lua"), f"{url}/v1/score"]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"not every request was answered well:\n{out}")


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def scored(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(r"^vaewatch_records_total\{.*\} (\S+)$", text, re.M)))


def size_of(artifact: Path, folder: Path, records: int, connections: int, seconds: int) -> Size:
    with server(artifact) as (pid, url):
        ask(url, folder, records, connections, 1)  # warm
        rest, spent, before = memory(pid, "VmRSS"), processor_seconds(pid), scored(url)
        ask(url, folder, records, connections, seconds)
        spent = processor_seconds(pid) - spent
        return Size(records, (scored(url) - before) / spent, rest, memory(pid, "VmHWM"))


def file_size(artifact: Path, folder: Path, records: Path) -> Size:
    """Run `vaewatch score` on one thread, start-up included."""
    head, *rows = records.read_text().splitlines(keepends=True)
    path = folder / "records.csv"
    with path.open("w") as file:
        file.write(head)
        file.writelines(itertools.islice(itertools.cycle(rows), FILE_ROWS))
    words = [str(BIN / "vaewatch"), "score", str(artifact), str(path), "--threads", "1", "--quiet"]
    process = subprocess.Popen([*words, "--out", str(folder / "scored.csv")])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"vaewatch score ended with {process.returncode}")
    most = used.ru_maxrss / 1024
    return Size(FILE_ROWS, FILE_ROWS / (used.ru_utime + used.ru_stime), most, most)


def run(artifact: Path, records: Path, seconds: int) -> None:
    lines = [
        "| records a request | connections | records/s of processor time | MB | at most MB |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        write_scripts(Path(name), artifact, records)
        for size, connections in LOADS:
            found = size_of(artifact, Path(name), size, connections, seconds)
            lines.append(
                f"| {size:,} | {connections} | {found.rate:,.0f} | {found.at_rest:.0f} "
                f"| {found.most:.0f} |"
            )
        file = file_size(artifact, Path(name), records)
        lines.append(f"| a file of {FILE_ROWS:,} | | {file.rate:,.0f} | | {file.most:.0f} |")
    write_section(
        Path(__file__).with_name("RESULTS.md"), "Serving", "Sizing of a worker", "\n".join(lines)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("records", type=Path, help="CSV of records that the artifact can score")
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    words = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk must be installed: on Debian or Ubuntu, apt install wrk.")
    run(words.artifact, words.records, words.seconds)


if __name__ == "__main__":
    main()
