"""artifact -> a table: records a core of the service scores, by processor time, and its memory.

    python -m benchmarks.sizing ARTIFACT RECORDS.csv

What deploy/README.md sizes by. Processor time, not the clock: who else uses the machine matters
little then. Each size of request meets a service of its own, so that memory is of that size.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import write_section
from benchmarks.serving import BIN, Load, measure, server, write_scripts

LOADS = ((1, 64), (10, 32), (100, 16), (1000, 8))  # records a request, connections
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Size:
    """What one load cost."""

    records: int  # a request
    rate: float  # records a second of processor time
    at_rest: float  # MB
    most: float  # MB


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
    words = [str(BIN / "vaewatch"), "serve", str(artifact), "--port", "0", "--no-access-log"]
    with server(words, r"listening on (http://[\d.:]+)") as (pid, url):
        load = Load("", f"{url}/v1/score", records, connections)
        measure(load, folder, 1)  # warm
        rest, spent, before = memory(pid, "VmRSS"), processor_seconds(pid), scored(url)
        measure(load, folder, seconds)
        spent = processor_seconds(pid) - spent
        return Size(records, (scored(url) - before) / spent, rest, memory(pid, "VmHWM"))


def run(artifact: Path, records: Path, seconds: int) -> None:
    lines = [
        "| records a request | connections | records/s of processor time | MB | at most MB |",
        "|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        write_scripts(Path(name), artifact, records, {size for size, _ in LOADS})
        for size, connections in LOADS:
            found = size_of(artifact, Path(name), size, connections, seconds)
            lines.append(
                f"| {size:,} | {connections} | {found.rate:,.0f} | {found.at_rest:.0f} "
                f"| {found.most:.0f} |"
            )
    write_section(
        Path(__file__).with_name("RESULTS.md"), "Serving", "Sizing of a worker", "\n".join(lines)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("records", type=Path, help="CSV of records that the artifact can score")
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    words = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset must be installed: on Debian or Ubuntu, apt install wrk.")
    run(words.artifact, words.records, words.seconds)


if __name__ == "__main__":
    main()
