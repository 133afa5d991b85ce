"""artifact -> a table: what the service costs beside a route that does nothing, and beside peers.

    python -m benchmarks.serving ARTIFACT RECORDS.csv [--peers FOLDER] [--soak 1000000]

The servers are pinned to one core and wrk to another. Rounds of all loads are interleaved, because
a shared machine is not as fast in one minute as in the next; each number is the median of the
rounds, each ratio the median of the rounds' ratios. Rates of processor time (of the server and its
children) are told too: other programs change them less than rates by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.peers import PEERS, install, version_of
from benchmarks.results import write_section
from scoring.artifact import Artifact, read_artifact
from scoring.frames import checked_table

BIN = Path(sys.executable).parent
SERVER_CORE, CLIENT_CORE = "0", "1"
SIZES = (1, 100)
CONNECTIONS = {1: 64, 100: 8}
PERCENTILES = ("50", "99", "99.9")
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
function done(summary, latency, requests)
  for _, p in pairs({{50, 99, 99.9}}) do
    io.write(string.format("percentile %g %f\\n", p, latency:percentile(p) / 1000))
  end
end
{delay}
"""


@dataclass(frozen=True)
class Server:
    """A server that runs: its process, and how long it took until it answered."""

    pid: int
    url: str
    ready_seconds: float

    def cpu_seconds(self) -> float:
        return sum(map(_cpu_seconds, _family(self.pid)))

    def resident_mb(self) -> float:
        return sum(map(_resident_mb, _family(self.pid)))


@dataclass(frozen=True)
class Load:
    """What wrk sends: each connection asks again when it is answered, or after `pause` ms."""

    name: str
    server: Server
    path: str
    body: Path
    records: int
    connections: int
    pause: int = 0


@dataclass
class Rounds:
    """What a load got, a value for each round."""

    requests: list[float] = field(default_factory=list)  # a second
    requests_cpu: list[float] = field(default_factory=list)  # a second of the server's time
    latency: dict[str, list[float]] = field(default_factory=dict)  # percentile -> ms

    def milliseconds(self) -> str:
        return " | ".join(f"{statistics.median(self.latency[p]):.2f}" for p in PERCENTILES)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(words: list[str], port: int, path: str, body: Path, folder: Path) -> Iterator[Server]:
    """A server on the server's core, once it answers a body well."""
    started, url = time.monotonic(), f"http://127.0.0.1:{port}"
    log = (folder / f"log-{port}").open("w")
    pinned = ["taskset", "-c", SERVER_CORE, *words]
    process = subprocess.Popen(pinned, stdout=log, stderr=log, cwd=folder)
    try:
        while not _answers(url + path, body):
            if process.poll() is not None or time.monotonic() - started > 120:
                raise RuntimeError(f"{words[0]} did not start:\n{Path(log.name).read_text()}")
            time.sleep(0.02)
        yield Server(process.pid, url, time.monotonic() - started)
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _answers(url: str, body: Path) -> bool:
    request = urllib.request.Request(url, body.read_bytes(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def measure(load: Load, folder: Path, seconds: int, into: Rounds) -> int:
    """One round of a load; gives how many requests were answered."""
    script = folder / f"{load.body.stem}-{load.pause}.lua"
    delay = f"function delay() return {load.pause} end" if load.pause else ""
    script.write_text(LUA.format(body=load.body, delay=delay))
    words = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s"]
    words += ["--timeout", "30s", "-s", str(script), load.server.url + load.path]
    before = load.server.cpu_seconds()
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used = load.server.cpu_seconds() - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{load.name}: not every request was answered well:\n{out}")
    done, rate = (
        re.search(pattern, out) for pattern in (r"(\d+) requests in", r"Requests/sec: +([\d.]+)")
    )
    assert done is not None and rate is not None
    into.requests.append(float(rate.group(1)))
    into.requests_cpu.append(int(done.group(1)) / used)
    for share, milliseconds in re.findall(r"^percentile ([\d.]+) ([\d.]+)$", out, re.M):
        into.latency.setdefault(share, []).append(float(milliseconds))
    return int(done.group(1))


def write_bodies(folder: Path, artifact: Artifact, records: Path, peers: bool) -> None:
    """Named records for us, bare tensors for the peers: the same ones."""
    schema = artifact.schema
    table = checked_table(schema, pl.read_csv(records, infer_schema=False, n_rows=max(SIZES)))
    rows = [{c.name: table.observed(i, c) for c in schema.columns} for i in range(len(table))]
    features = artifact.vectorizer.transform(table)
    for size in SIZES:
        (folder / f"records-{size}.json").write_text(json.dumps({"records": rows[:size]}))
        for peer in PEERS if peers else ():
            (folder / f"{peer.package}-{size}.json").write_text(peer.body(features[:size]))


def start_all(stack: ExitStack, folder: Path, path: Path, peers: Path | None) -> dict[str, Load]:
    """Every server, and the loads by their names."""
    loads: dict[str, Load] = {}

    def start(
        name: str,
        words: Callable[[int], list[str]],
        path: str,
        kind: str,
        sizes: tuple[int, ...] = SIZES,
    ) -> None:
        port, first = free_port(), folder / f"{kind}-1.json"
        server = stack.enter_context(running(words(port), port, path, first, folder))
        for size in sizes:
            body = folder / f"{kind}-{size}.json"
            load = Load(f"{name}, {size}", server, path, body, size, CONNECTIONS[size])
            loads[load.name] = load

    (folder / "floor.py").write_text(FLOOR)
    quiet = ["--port", "{port}", "--no-access-log"]
    floor = [str(BIN / "uvicorn"), "floor:app", *quiet]
    ours = [str(BIN / "vaewatch"), "serve", str(path.resolve()), *quiet]
    start("floor", lambda port: _with_port(floor, port), "/floor", "records", (1,))
    start("vaewatch", lambda port: _with_port(ours, port), "/v1/score", "records")
    (folder / "network.onnx").write_bytes((path / "network.onnx").read_bytes())
    for peer in PEERS if peers is not None else ():
        programs = install(peer, peers.resolve())
        name = f"{peer.name} {version_of(programs, peer.package)}"
        start(name, partial(peer.prepare, folder, programs), peer.path, peer.package)
    return loads


def _with_port(words: list[str], port: int) -> list[str]:
    return [word.replace("{port}", str(port)) for word in words]


def run(args: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_bodies(folder, read_artifact(args.artifact), args.records, bool(args.peers))
        loads = start_all(stack, folder, args.artifact, args.peers)
        ours = loads["vaewatch, 1"].server
        at_start, asked, warm = ours.resident_mb(), 0, 0.0
        found = {name: Rounds() for name in loads}
        for _ in range(args.rounds):
            for name, load in loads.items():
                done = measure(load, folder, args.seconds, found[name])
                asked += done if load.server is ours else 0
        half = statistics.median(found["vaewatch, 1"].requests) / 2
        calm = Load("half", ours, "/v1/score", folder / "records-1.json", 1, 16)
        calm = Load(**{**vars(calm), "pause": max(1, round(16 * 1000 / half))})
        quiet = Rounds()
        for _ in range(args.rounds):
            asked += measure(calm, folder, args.seconds, quiet)
        warm, soaked = ours.resident_mb(), asked
        while asked < args.soak:
            asked += measure(loads["vaewatch, 1"], folder, 20, Rounds())
        words = (
            f"Load of the machine: {os.getloadavg()[0]:.1f} (2 of it are ours). From start to the "
            f"first answer: {ours.ready_seconds:.2f} s. Resident memory: {at_start:.0f} MB at the "
            f"start, {warm:.0f} MB after {soaked:,} requests, {ours.resident_mb():.0f} MB after "
            f"{asked:,}."
        )
        text = "\n".join([*table(loads, found, quiet), "", words])
        write_section(args.out, "Serving", "One core", text)


def table(loads: dict[str, Load], found: dict[str, Rounds], quiet: Rounds) -> list[str]:
    lines = [
        "| server, records a request | requests/s | records/s | over the floor's requests/s "
        "| the same by processor time | p50 ms | p99 | p99.9 | resident MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    floor = found["floor, 1"]
    for name, load in loads.items():
        rounds = found[name]
        rate = statistics.median(rounds.requests)
        clock = _ratio(rounds.requests, floor.requests) * load.records
        cpu = _ratio(rounds.requests_cpu, floor.requests_cpu) * load.records
        cells = f"{rate:,.0f} | {rate * load.records:,.0f} | {clock:.2f} | {cpu:.2f}"
        memory = f"{load.server.resident_mb():.0f}"
        lines.append(f"| {name} | {cells} | {rounds.milliseconds()} | {memory} |")
    rate = statistics.median(quiet.requests)
    cells = f"{rate:,.0f} | {rate:,.0f} | | | {quiet.milliseconds()} |"
    lines.append(f"| vaewatch, 1, paced to half | {cells} |")
    return lines


def _ratio(mine: list[float], base: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, base, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("records", type=Path, help="CSV of records that the artifact can score")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--peers", type=Path, help="folder for the peers' environments")
    parser.add_argument("--soak", type=int, default=0, help="go on to so many requests")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset must be installed: on Debian or Ubuntu, apt install wrk.")
    run(args)


if __name__ == "__main__":
    main()
