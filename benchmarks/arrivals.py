"""a rate -> latencies: requests are sent when due, whether or not earlier ones are answered.

    python -m benchmarks.arrivals http://127.0.0.1:8000/v1/score body.json --rate 2000 --seconds 5

An open loop: moments are drawn before the first request is sent, a request takes any connection
that is free, and its latency counts from the moment it was due: one that waited because the
server, or this program, was behind has waited. Moments are `random` (a Poisson process: the
requests of many clients who do not know of each other) or `even` (one each 1/rate seconds).

wrk, h2load and hey wait in whole milliseconds, as epoll does, or each client of theirs keeps a
beat of its own that began with the others': requests come in heaps. They also count from when a
request was sent. Here a wait ends to some microseconds. The loop is `arrivals.c`, which says why;
the machine's C compiler makes it again each time.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from urllib.parse import urlsplit

SOURCE = Path(__file__).with_suffix(".c")
CONNECTIONS = 256
SPACINGS: dict[str, Callable[[random.Random, float], float]] = {
    "random": lambda draw, rate: draw.expovariate(rate),
    "even": lambda draw, rate: 1 / rate,
}


def moments(spacing: str, rate: float, seconds: float, seed: int) -> list[float]:
    """Return the seconds from the start at which requests are due."""
    draw, gap = random.Random(seed), SPACINGS[spacing]
    return list(accumulate(gap(draw, rate) for _ in range(round(rate * seconds))))


@dataclass
class Measured:
    """Seconds from when each request was due, until it was sent, and until it was answered.
    `seconds`: from the first moment to the last answer.
    """

    sent: list[float]
    answered: list[float]
    seconds: float

    def report(self) -> dict[str, float]:
        out = {"requests": len(self.answered), "rate": len(self.answered) / self.seconds}
        out |= {f"p{share:g}": 1000 * quantile(self.answered, share) for share in (50, 99, 99.9)}
        return out | {"late_p99": 1000 * quantile(self.sent, 99)}


def quantile(values: list[float], share: float) -> float:
    """Return a percentile."""
    return sorted(values)[min(int(len(values) * share / 100), len(values) - 1)]


def send(url: str, body: bytes, due: list[float], connections: int = CONNECTIONS) -> Measured:
    """Send a body at each moment, over connections that are open before the first.

    Raises:
        RuntimeError: not every request was answered, and well.
    """
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    given = struct.pack(f"=Q{len(request)}sQ{len(due)}d", len(request), request, len(due), *due)
    address = [parts.hostname or "127.0.0.1", str(parts.port or 80), str(connections)]
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(Path(folder))
        done = subprocess.run([program, *address], input=given, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode("latin-1").strip())
    sent, answered, at = map(list, zip(*struct.iter_unpack("=3d", done.stdout), strict=True))
    return Measured(sent, answered, at[-1] - due[0])


def compiled(folder: Path) -> Path:
    """Compile the program that sends."""
    if shutil.which("cc") is None:
        raise RuntimeError("a C compiler must be installed: on Debian or Ubuntu, apt install gcc.")
    program = folder / SOURCE.stem
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE], check=True)
    return program


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
    print(json.dumps(send(words.url, words.body.read_bytes(), due).report()))


if __name__ == "__main__":
    main()
