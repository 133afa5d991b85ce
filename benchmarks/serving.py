"""artifact -> a table: the cost of the service beside a route that does nothing, and peers.

    python -m benchmarks.serving ARTIFACT RECORDS.csv [--peers FOLDER] [--soak 1000000]

The servers are pinned to one core and wrk to another. Rounds of all loads are interleaved, because
a shared machine is not as fast in one minute as in the next; each number is the median of the
rounds, each ratio the median of the rounds' ratios. Rates of processor time (of the server and its
children) are printed, too: other programs change them less than rates by the clock. Latencies at
half of the top load are those of `benchmarks.arrivals`, beside the floor's at half of its own
top, and beside what a core that serves nothing stands still (`benchmarks.stalls`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.arrivals import SPACINGS
from benchmarks.load import SERVER_CORE, Load, Pace, Rounds, free_port, measure, on_core, running
from benchmarks.peers import PEERS, install, version_of
from benchmarks.results import write_section
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.files.frames import checked_table

BIN = Path(sys.executable).parent
SIZES = (1, 100)
CONNECTIONS = {1: 64, 100: 8}
QUIET = ["--port", "{port}", "--no-access-log"]
FLOOR_SERVER = [str(BIN / "uvicorn"), "floor:app", *QUIET]
FLOOR_LOAD, OURS = "floor, 1", "vaewatch, 1"
FLOOR = """
from fastapi import FastAPI, Request

app = FastAPI()


@app.post("/floor")
async def floor(request: Request) -> dict[str, bool]:
    await request.body()
    return {"ok": True}
"""


def write_bodies(folder: Path, artifact: Artifact, records: Path, peers: bool) -> None:
    """Make the same records twice: named for us, bare tensors for the peers."""
    schema = artifact.schema
    table = checked_table(schema, pl.read_csv(records, infer_schema=False, n_rows=max(SIZES)))
    rows = [{c.name: table.observed(i, c) for c in schema.columns} for i in range(len(table))]
    features = artifact.vectorizer.transform(table).values
    for size in SIZES:
        (folder / f"records-{size}.json").write_text(json.dumps({"records": rows[:size]}))
        for peer in PEERS if peers else ():
            (folder / f"{peer.package}-{size}.json").write_text(peer.body(features[:size]))


def start_all(stack: ExitStack, folder: Path, path: Path, peers: Path | None) -> dict[str, Load]:
    """Return every server, and the loads by name."""
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
    start("floor", partial(with_port, FLOOR_SERVER), "/floor", "records", (1,))
    start("vaewatch", partial(with_port, our_server(path)), "/v1/score", "records")
    (folder / "network.onnx").write_bytes((path / "network.onnx").read_bytes())
    for peer in PEERS if peers is not None else ():
        programs = install(peer, peers.resolve())
        name = f"{peer.name} {version_of(programs, peer.package)}"
        start(name, partial(peer.prepare, folder, programs), peer.path, peer.package)
    return loads


def our_server(artifact: Path) -> list[str]:
    return [str(BIN / "vaewatch"), "serve", str(artifact.resolve()), *QUIET]


def with_port(words: list[str], port: int) -> list[str]:
    return [word.replace("{port}", str(port)) for word in words]


def run(args: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_bodies(folder, read_artifact(args.artifact), args.records, bool(args.peers))
        loads = start_all(stack, folder, args.artifact, args.peers)
        ours = loads[OURS].server
        at_start = ours.resident_mb()
        found = rounds_of(loads, folder, args)
        tops = {name: statistics.median(found[name].requests) for name in (FLOOR_LOAD, OURS)}
        calm = {name: load for kind in SPACINGS for name, load in at_half(loads, tops, kind)}
        stolen = stolen_seconds()
        quiet, still = rounds_of(calm, folder, args), [stalls(args) for _ in range(args.rounds)]
        stolen = stolen_seconds() - stolen
        asked = sum(sum(found[name].answered) for name in loads if loads[name].server is ours)
        asked += sum(sum(quiet[name].answered) for name in calm if calm[name].server is ours)
        warm, soaked, rest = ours.resident_mb(), asked, Rounds()
        while asked + sum(rest.answered) < args.soak:
            measure(loads[OURS], folder, 20, rest)
        words = (
            f"Load of the machine: {os.getloadavg()[0]:.1f} (2 of it are ours). From start to the "
            f"first answer: {ours.ready_seconds:.2f} s. Resident memory: {at_start:.0f} MB at the "
            f"start, {warm:.0f} MB after {soaked:,} requests, {ours.resident_mb():.0f} MB after "
            f"{asked + sum(rest.answered):,}."
        )
        paced = [*table_at_half(quiet, tops), "", *table_of_stalls(still, stolen)]
        text = "\n".join([*table(loads, found), "", *paced, "", words])
        title = "One core, beside peers" if args.peers else "One core"
        write_section(args.out, "Serving", title, text)


def rounds_of(loads: dict[str, Load], folder: Path, args: argparse.Namespace) -> dict[str, Rounds]:
    """Run all loads in turn, round after round."""
    found = {name: Rounds() for name in loads}
    for _ in range(args.rounds):
        for name, load in loads.items():
            measure(load, folder, args.seconds, found[name])
    return found


def at_half(
    loads: dict[str, Load], tops: dict[str, float], spacing: str
) -> Iterator[tuple[str, Load]]:
    """Those whose top is known, by the names of their rows."""
    for name, top in tops.items():
        yield f"{name}, {spacing}", replace(loads[name], pace=Pace(top / 2, spacing))


def stalls(args: argparse.Namespace) -> dict[str, float]:
    """Measure how long the server's core stalls while nothing runs."""
    words = [sys.executable, "-m", "benchmarks.stalls", "--seconds", str(args.seconds)]
    found: dict[str, float] = json.loads(on_core(SERVER_CORE, *words))
    return found


def stolen_seconds() -> float:
    """Return the processor time, over all cores, that the host gave to others."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def table(loads: dict[str, Load], found: dict[str, Rounds]) -> list[str]:
    lines = [
        "| server, records a request | requests/s | records/s | over the floor's requests/s "
        "| the same by processor time | p50 ms | p99 | p99.9 | resident MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    floor = found[FLOOR_LOAD]
    for name, load in loads.items():
        rounds = found[name]
        rate = statistics.median(rounds.requests)
        clock = _ratio(rounds.requests, floor.requests) * load.records
        cpu = _ratio(rounds.requests_cpu, floor.requests_cpu) * load.records
        cells = f"{rate:,.0f} | {rate * load.records:,.0f} | {clock:.2f} | {cpu:.2f}"
        memory = f"{load.server.resident_mb():.0f}"
        lines.append(f"| {name} | {cells} | {rounds.milliseconds()} | {memory} |")
    return lines


def table_at_half(found: dict[str, Rounds], tops: dict[str, float]) -> list[str]:
    lines = [
        "Each at half of its own top load: an open loop, requests at random moments (a Poisson "
        "process) or one each 1/rate seconds; latencies from when a request was due:",
        "",
        "| server, records a request, spacing | requests/s | of its top (aim 0.50) | p50 ms | p99 "
        "| p99.9 | p99 by round | 99 % were sent within |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rounds in found.items():
        top = tops[name.rpartition(", ")[0]]
        rate, each = statistics.median(rounds.requests), sorted(rounds.latency["99"])
        cells = f"{rate:,.0f} | {rate / top:.2f} | {rounds.milliseconds()}"
        late = statistics.median(rounds.latency["sent"])
        lines.append(f"| {name} | {cells} | {each[0]:.2f} to {each[-1]:.2f} | {late:.2f} |")
    return lines


def table_of_stalls(found: list[dict[str, float]], stolen: float) -> list[str]:
    """Format every round: one may have been disturbed and another not."""
    lines = [
        "What the server's core stood still while it had nothing to do but look at the clock: how "
        "long those wait who come at random moments, ms.",
        "",
        "| round | p99 | p99.9 | longest | share of the time |",
        "|---|---|---|---|---|",
    ]
    for number, of in enumerate(found, 1):
        cells = f"{of['p99']:.2f} | {of['p99.9']:.2f} | {of['longest']:.2f} | {of['share']:.2%}"
        lines.append(f"| {number} | {cells} |")
    host = f"In all of these rounds the host took {stolen:.2f} s of processor time for others."
    return [*lines, "", host]


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
    if not all(map(shutil.which, ("wrk", "taskset", "cc"))):
        sys.exit("wrk, taskset and cc must be installed: on Debian, apt install wrk gcc.")
    run(args)


if __name__ == "__main__":
    main()
