"""artifact -> a table: what the service costs beside a route that does nothing.

    python -m benchmarks.serving ARTIFACT RECORDS.csv

The servers are pinned to one core and wrk to another; rounds of all loads are interleaved, because
a shared machine is not as fast in one minute as in the next. Each number is the median of the
rounds.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.results import write_section
from scoring.artifact import read_artifact
from scoring.frames import checked_table

BIN = Path(sys.executable).parent
SERVER_CORE, CLIENT_CORE = "0", "1"
FLOOR = """
from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/floor")
async def floor(request: Request) -> dict[str, bool]:
    await request.body()
    return {"ok": True}
"""
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""


@dataclass(frozen=True)
class Load:
    """What wrk sends: each connection asks again when it is answered, or after `pause` ms."""

    name: str
    url: str
    records: int
    connections: int
    pause: int = 0


@dataclass(frozen=True)
class Measured:
    """One round of a load."""

    requests: float  # a second
    latency: dict[str, float]  # percentile -> ms


def write_scripts(folder: Path, artifact: Path, records: Path, sizes: set[int]) -> None:
    schema = read_artifact(artifact).schema
    table = checked_table(schema, pl.read_csv(records, infer_schema=False, n_rows=max(sizes)))
    rows = [{c.name: table.observed(i, c) for c in schema.columns} for i in range(len(table))]
    for size in sizes:
        body = folder / f"{size}.json"
        body.write_text(json.dumps({"records": rows[:size]}))
        (folder / f"{size}.lua").write_text(LUA.replace("{body}", str(body)))


@contextmanager
def server(words: list[str], ready: str) -> Iterator[tuple[int, str]]:
    """A server on the server's core: its pid and its address, once it says so on stderr."""
    pinned = ["taskset", "-c", SERVER_CORE, *words]
    process = subprocess.Popen(pinned, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            found = re.search(ready, line)
            if found:
                yield process.pid, found.group(1)
                return
        raise RuntimeError(f"{words[0]} did not start")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def measure(load: Load, folder: Path, seconds: int) -> Measured:
    script = folder / f"{load.records}-{load.pause}.lua"
    text = (folder / f"{load.records}.lua").read_text()
    pause = f"function delay() return {load.pause} end\n" if load.pause else ""
    script.write_text(text + pause)
    words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"]
    words += ["--latency", "-s", str(script), load.url]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{load.name}: not every request was answered well:\n{out}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    latency = {
        share: float(value) * units[unit]
        for share, value, unit in re.findall(r"^ +(\d+)% +([\d.]+)(us|ms|s)$", out, re.M)
    }
    rate = re.search(r"Requests/sec: +([\d.]+)", out)
    assert rate is not None
    return Measured(float(rate.group(1)), latency)


def resident_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024


def median(rounds: list[Measured], share: str | None = None) -> float:
    return statistics.median(m.latency[share] if share else m.requests for m in rounds)


def run(artifact: Path, records: Path, rounds: int, seconds: int) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_scripts(folder, artifact, records, {1, 100})
        (folder / "floor.py").write_text(FLOOR)
        floor_words = [str(BIN / "uvicorn"), "--app-dir", str(folder), "floor:app", "--port", "0"]
        floor = stack.enter_context(
            server([*floor_words, "--no-access-log"], r"running on (http://[\d.:]+)")
        )[1]
        ours_words = [str(BIN / "vaewatch"), "serve", str(artifact), "--port", "0"]
        pid, ours = stack.enter_context(
            server([*ours_words, "--no-access-log"], r"listening on (http://[\d.:]+)")
        )
        at_start, url = resident_mb(pid), f"{ours}/v1/score"
        loads = [
            Load("floor: a FastAPI route that answers a constant", f"{floor}/floor", 1, 64),
            Load("vaewatch, 1 record a request", url, 1, 64),
            Load("vaewatch, 100 records a request", url, 100, 8),
        ]
        found: dict[str, list[Measured]] = {load.name: [] for load in loads}
        warm = 0.0
        for _ in range(rounds):
            for load in loads:
                found[load.name].append(measure(load, folder, seconds))
            warm = warm or resident_mb(pid)
        half = median(found[loads[1].name]) / 2
        calm = Load("half", url, 1, 16, pause=max(1, round(16 * 1000 / half)))
        quiet = [measure(calm, folder, seconds) for _ in range(rounds)]
        asked = sum(m.requests * seconds for load in loads[1:] for m in found[load.name])
        memory = (
            f"Resident memory of the service: {at_start:.0f} MB at start, {warm:.0f} MB after the "
            f"first round, {resident_mb(pid):.0f} MB after {asked:,.0f} requests."
        )
        text = "\n".join([*table(loads, found, quiet), "", memory])
        write_section(Path(__file__).with_name("RESULTS.md"), "Serving", "One core", text)


def table(loads: list[Load], found: dict[str, list[Measured]], quiet: list[Measured]) -> list[str]:
    base = median(found[loads[0].name])
    lines = [
        "| | requests/s | records/s | of the floor's requests/s | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|",
    ]
    for load in loads:
        rounds = found[load.name]
        many = median(rounds) * load.records
        cells = f"{median(rounds):,.0f} | {many:,.0f} | {many / base:.2f}"
        lines.append(f"| {load.name} | {cells} | {_latency(rounds)} |")
    rate = f"{median(quiet):,.0f}"
    lines.append(f"| vaewatch, 1 record, paced to half | {rate} | {rate} | | {_latency(quiet)} |")
    return lines


def _latency(rounds: list[Measured]) -> str:
    return f"{median(rounds, '50'):.2f} | {median(rounds, '99'):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("records", type=Path, help="CSV of records that the artifact can score")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    words = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset must be installed: on Debian or Ubuntu, apt install wrk.")
    run(words.artifact, words.records, words.rounds, words.seconds)


if __name__ == "__main__":
    main()
