"""artifact -> a table: the requests that a service loses when it is stopped, beside a route
that does nothing behind plain uvicorn.

    python -m benchmarks.stopping ARTIFACT RECORDS.csv

Clients make a connection for each request, as all do while a service drains, and go on until one
is refused. Who is refused may ask elsewhere; who was let in and has no answer is lost. Servers run
on one core and clients on another, all programs in turn.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import CLIENT_CORE, free_port, running
from benchmarks.results import write_section
from benchmarks.serving import FLOOR, FLOOR_SERVER, our_server, with_port, write_bodies
from vaewatch.scoring.disk.reading import read_artifact

CLIENTS = 4
LOAD_SECONDS = 0.5  # before the signal
MOST_SECONDS = 20  # that a client asks


@dataclass(frozen=True)
class Program:
    """A server and the route to request."""

    words: list[str]
    path: str


@dataclass
class Stops:
    """The results of one program, one value per stop."""

    answered: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # from the signal to the end


def ask_until_refused(port: int, path: str, body: bytes) -> tuple[int, int]:
    """Count answered and lost requests."""
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = f"{head}connection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    answered, lost, end = 0, 0, time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=MOST_SECONDS)
        except OSError:
            return answered, lost
        with connection:
            well = _answer(connection, request).startswith(b"HTTP/1.1 200 ")
            answered, lost = answered + well, lost + (not well)
    raise RuntimeError("the server must end, but lets clients in")


def _answer(connection: socket.socket, request: bytes) -> bytes:
    try:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return b""


def stop(program: Program, body: Path, folder: Path, into: Stops) -> None:
    """Start a server, load it, and stop it."""
    port = free_port()
    with ProcessPoolExecutor(CLIENTS) as clients:
        with running(with_port(program.words, port), port, program.path, body, folder):
            load = (port, program.path, body.read_bytes())
            asking = [clients.submit(ask_until_refused, *load) for _ in range(CLIENTS)]
            time.sleep(LOAD_SECONDS)
            signalled = time.monotonic()
        into.seconds.append(time.monotonic() - signalled)
        found = [client.result() for client in asking]
    into.answered.append(sum(answered for answered, _ in found))
    into.lost.append(sum(lost for _, lost in found))


def table(found: dict[str, Stops]) -> str:
    lines = [
        "| server | stops | that lost a request | requests lost | answered | seconds to its end |",
        "|---|---|---|---|---|---|",
    ]
    for name, stops in found.items():
        bad, seconds = sum(lost > 0 for lost in stops.lost), statistics.median(stops.seconds)
        counts = f"{len(stops.lost)} | {bad} | {sum(stops.lost)} | {sum(stops.answered):,}"
        lines.append(f"| {name} | {counts} | {seconds:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("records", type=Path, help="CSV of records that the artifact can score")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("Linux must run this: cores are picked and connections refused as only it does.")
    serve = [*our_server(args.artifact), "--drain-seconds", "0.3"]
    programs = {
        "floor": Program(FLOOR_SERVER, "/floor"),
        "vaewatch": Program(serve, "/v1/score"),
        "vaewatch, 2 workers": Program([*serve, "--workers", "2"], "/v1/score"),
    }
    found = {name: Stops() for name in programs}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "floor.py").write_text(FLOOR)
        write_bodies(folder, read_artifact(args.artifact), args.records, peers=False)
        for _ in range(args.rounds):
            for program, stops in found.items():
                stop(programs[program], folder / "records-1.json", folder, stops)
    write_section(args.out, "Serving", "Told to stop under load", table(found))


if __name__ == "__main__":
    main()
