"""telemetry -> a table: one record a request with memory, beside a route that does nothing.

    python -m benchmarks.histories [--rounds 5] [--seconds 4]

Each request brings the next record of one of ENTITIES, so that all are judged with full windows.
The servers are pinned to one core and wrk to another, and rounds are interleaved, as in
`benchmarks.serving`, whose floor this is.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import CLIENT_CORE, Server, free_port, on_core, running
from benchmarks.results import write_section
from benchmarks.serving import FLOOR, FLOOR_SERVER, QUIET, with_port
from benchmarks.windows import STEP, command, telemetry

BIN = Path(sys.executable).parent
SIZE, COLUMNS, FITTED = 64, 20, 40_000
ENTITIES, AT_ONCE = 256, 8  # in memory; whose first records come in one request
CONNECTIONS = (64, 1)
STEPS = 20_000  # different records
START = np.datetime64("2026-06-01T00:00:00")
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local values = {{ {values} }}
local n = {sent}
function request()
  local entity, step = n % {entities}, {size} + math.floor(n / {entities})
  n = n + 1
  local at = os.date("!%Y-%m-%dT%H:%M:%S", {start} + {seconds} * step)
  local head = '{{"records":[{{"ts":"' .. at .. '","machine":"m' .. entity .. '",'
  return wrk.format(nil, nil, nil, head .. values[step % #values + 1] .. '}}]}}')
end
"""


@dataclass
class Target:
    """A server, how often it was asked, and its answers a second, by both clocks."""

    server: Server
    path: str
    sent: int = 0
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """The course of one machine, whose normal records come for all entities, and wrk's script."""

    course: list[dict[str, Any]]
    script: Path

    @classmethod
    def of(cls, folder: Path) -> Source:
        course = telemetry(STEPS, COLUMNS, 1).drop("ts", "machine").to_dicts()
        return cls(course, folder / "load.lua")

    def record(self, entity: str, step: int) -> dict[str, Any]:
        return {"ts": str(START + step * STEP), "machine": entity, **self.course[step]}

    def warm_up(self, url: str) -> None:
        """Give every entity a history."""
        for first in range(0, ENTITIES, AT_ONCE):
            some = [f"m{entity}" for entity in range(first, first + AT_ONCE)]
            body = {"records": [self.record(each, k) for each in some for k in range(SIZE)]}
            data = json.dumps(body).encode()
            post = urllib.request.Request(url, data, {"content-type": "application/json"})
            with urllib.request.urlopen(post, timeout=60) as answer:
                answer.read()

    def write(self, sent: int) -> None:
        """Write the script that goes on after so many requests."""
        values = ",".join(f"'{json.dumps(record)[1:-1]}'" for record in self.course)
        start = int(START.astype("datetime64[s]").astype(np.int64))
        given = {"entities": ENTITIES, "size": SIZE, "start": start, "seconds": STEP}
        self.script.write_text(LUA.format(values=values, sent=sent, **given))


def load(target: Target, source: Source, connections: int, seconds: int) -> None:
    """Run one round."""
    source.write(target.sent)
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s"]
    before = target.server.cpu_seconds()
    out = on_core(CLIENT_CORE, *words, str(source.script), target.server.url + target.path)
    used = target.server.cpu_seconds() - before
    done = re.search(r"(\d+) requests in ([\d.]+)s", out)
    if done is None or "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"not every request was answered well:\n{out}")
    answered = int(done.group(1))
    target.sent += answered + connections  # some were sent and not answered
    target.clock.append(answered / float(done.group(2)))
    target.processor.append(answered / used)


def line(name: str, target: Target, floor: Target, start: int) -> str:
    ratios = [
        statistics.median(a / b for a, b in zip(mine[start:], theirs[start:], strict=True))
        for mine, theirs in (
            (target.clock, floor.clock),
            (target.processor, floor.processor),
        )
    ]
    rate, us = statistics.median(target.clock[start:]), statistics.median(target.processor[start:])
    return f"| {name} | {rate:,.0f} | {1e6 / us:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"


def run(args: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = Source.of(folder)
        targets = dict(start_all(stack, folder, source))
        floor = targets["floor"]
        lines = [
            f"W = {SIZE}, {COLUMNS} columns, {ENTITIES} entities, one record a request.",
            "",
            "| server, connections | requests/s | us of processor time | over the floor's "
            "requests/s | the same by processor time |",
            "|---|---|---|---|---|",
        ]
        for n in CONNECTIONS:
            start = len(floor.clock)
            for _ in range(args.rounds):
                for target in targets.values():
                    load(target, source, n, args.seconds)
            lines += [line(f"{name}, {n}", t, floor, start) for name, t in targets.items()]
        write_section(args.out, "Windows", "One record a request, with memory", "\n".join(lines))


def start_all(stack: ExitStack, folder: Path, source: Source) -> Iterator[tuple[str, Target]]:
    """Train an artifact, and start the floor and the service, which remembers all entities."""
    telemetry(FITTED, COLUMNS, 10).write_csv(folder / "t.csv")
    words = ("--time", "ts", "--entity", "machine", "--window", SIZE)
    command("train", folder / "t.csv", *words, "--out", folder / "artifact")
    (folder / "floor.py").write_text(FLOOR)
    first = folder / "first.json"
    first.write_text(json.dumps({"records": [source.record("first", 0)]}))
    ours = [str(BIN / "vaewatch"), "serve", str(folder / "artifact"), *QUIET]
    for name, server, path in (
        ("floor", FLOOR_SERVER, "/floor"),
        ("vaewatch", [*ours, "--history", "memory"], "/v1/score"),
    ):
        port = free_port()
        started = running(with_port(server, port), port, path, first, folder)
        yield name, Target(stack.enter_context(started), path)
    source.warm_up(f"http://127.0.0.1:{port}/v1/score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    if not all(map(shutil.which, ("wrk", "taskset"))):
        sys.exit("wrk and taskset must be installed: on Debian, apt install wrk.")
    run(args)


if __name__ == "__main__":
    main()
