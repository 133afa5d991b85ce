"""a rate -> latencies: requests that come when they are due, answered or not the ones before.

    python -m benchmarks.arrivals http://127.0.0.1:8000/v1/score body.json --rate 2000 --seconds 5

An open loop: moments are drawn before the first request is sent, a request takes any connection
that is free, and its latency counts from the moment it was due: one that waited because the
server, or this program, was behind has waited. Moments are `random` (a Poisson process: the
requests of many clients who do not know of each other) or `even` (one each 1/rate seconds).

wrk, h2load and hey wait in whole milliseconds, as epoll does, or each client of theirs keeps a
beat of its own that began with the others': requests come in heaps. They also count from when a
request was sent. Here a wait ends to some microseconds, in `select`.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

CONNECTIONS = 256
PATIENCE = 30.0  # seconds, for the last answers
LEAD = 0.05  # seconds from the first look at the clock to the first moment
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.I)
SPACINGS: dict[str, Callable[[random.Random, float], float]] = {
    "random": lambda draw, rate: draw.expovariate(rate),
    "even": lambda draw, rate: 1 / rate,
}


def moments(spacing: str, rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from the start at which requests are due."""
    draw, gap = random.Random(seed), SPACINGS[spacing]
    return list(accumulate(gap(draw, rate) for _ in range(round(rate * seconds))))


@dataclass
class Connection:
    """One that is kept alive, with the request that it carries."""

    socket: socket.socket
    due: float = 0.0
    received: bytes = b""

    def whole(self) -> bool:
        """Read what is there; is it the whole answer? One that is not 200 ends the measurement."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise RuntimeError("the server closed a connection")
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return False
        length = LENGTH.search(head + b"\r\n")
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"not every request was answered well: {head.decode('latin-1')}")
        return len(body) >= int(length.group(1))


@dataclass
class Measured:
    """Seconds from when each request was due, until it was sent, and until it was answered."""

    sent: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    seconds: float = 0.0  # from the first moment to the last answer

    def report(self) -> dict[str, float]:
        out = {"requests": len(self.answered), "rate": len(self.answered) / self.seconds}
        out |= {f"p{share:g}": 1000 * quantile(self.answered, share) for share in (50, 99, 99.9)}
        return out | {"late_p99": 1000 * quantile(self.sent, 99)}


def quantile(values: list[float], share: float) -> float:
    """The value that so many per cent do not pass."""
    return sorted(values)[min(int(len(values) * share / 100), len(values) - 1)]


class Sender:
    """Connections that are open before the first request is due."""

    def __init__(self, url: str, body: bytes, connections: int = CONNECTIONS) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._epoll, self._by_number = select.epoll(), dict[int, Connection]()
        for _ in range(connections):
            opened = socket.create_connection(address, timeout=PATIENCE)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._by_number[opened.fileno()] = Connection(opened)
            self._epoll.register(opened, select.EPOLLIN)

    def run(self, due: list[float]) -> Measured:
        """Send a request at each moment."""
        found, free = Measured(), deque(self._by_number.values())
        start, next_one = perf_counter() + LEAD, 0
        end = start + due[-1] + PATIENCE
        while len(found.answered) < len(due):
            now = perf_counter()
            while next_one < len(due) and free and start + due[next_one] <= now:
                self._send(free.popleft(), start + due[next_one], found)
                next_one += 1
            if now > end:
                raise RuntimeError(f"{len(due) - len(found.answered)} requests have no answer")
            idle = start + due[next_one] - perf_counter() if next_one < len(due) and free else 1.0
            self._receive(max(0.0, idle), found, free)
        found.seconds = perf_counter() - start - due[0]
        return found

    def _send(self, connection: Connection, due: float, found: Measured) -> None:
        connection.due = due
        found.sent.append(perf_counter() - due)
        connection.socket.sendall(self._request)

    def _receive(self, idle: float, found: Measured, free: deque[Connection]) -> None:
        if idle:
            select.select([self._epoll], [], [], idle)
        for number, _ in self._epoll.poll(0):
            connection = self._by_number[number]
            if connection.whole():
                found.answered.append(perf_counter() - connection.due)
                connection.received = b""
                free.append(connection)

    def close(self) -> None:
        for connection in self._by_number.values():
            connection.socket.close()
        self._epoll.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--spacing", choices=SPACINGS, default="random")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    due = moments(words.spacing, words.rate, words.seconds, words.seed)
    sender = Sender(words.url, words.body.read_bytes())
    gc.disable()
    print(json.dumps(sender.run(due).report()))
    sender.close()


if __name__ == "__main__":
    main()
