"""servers and bodies -> rates and latencies: wrk on one core, what it asks on another."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SERVER_CORE, CLIENT_CORE = "0", "1"
PERCENTILES = ("50", "99", "99.9")
POST = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""
LUA = (
    POST
    + """
function done(summary, latency, requests)
  for _, p in pairs({{50, 99, 99.9}}) do
    io.write(string.format("percentile %g %f\\n", p, latency:percentile(p) / 1000))
  end
end
{delay}
"""
)
# Connections that all pause for the same time soon fire together, and what is measured is the
# queue that they make. Pauses of random length, each connection's its own, come at random moments
# like the requests of many independent clients (a Poisson process, nearly). wrk's are of whole
# milliseconds, so they are rounded up or down at random, to the right mean.
PAUSES = """
math.randomseed({seed})
function delay()
  return math.floor({mean} * -math.log(1 - math.random()) + math.random())
end
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
    """What wrk sends: each connection asks again when it is answered, or, where there is a pace,
    after a random pause, so that all of them together make so many requests a second.
    """

    name: str
    server: Server
    path: str
    body: Path
    records: int
    connections: int
    pace: float | None = None


@dataclass
class Rounds:
    """What a load got, a value for each round."""

    answered: list[int] = field(default_factory=list)  # requests
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


def _pauses(load: Load, seed: int) -> str:
    if load.pace is None:
        return ""
    return PAUSES.format(seed=seed, mean=1000 * load.connections / load.pace)


def measure(load: Load, folder: Path, seconds: int, into: Rounds) -> None:
    """One round of a load."""
    script = folder / "load.lua"
    script.write_text(LUA.format(body=load.body, delay=_pauses(load, seed=len(into.requests))))
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
    into.answered.append(int(done.group(1)))
    into.requests.append(float(rate.group(1)))
    into.requests_cpu.append(int(done.group(1)) / used)
    for share, milliseconds in re.findall(r"^percentile ([\d.]+) ([\d.]+)$", out, re.M):
        into.latency.setdefault(share, []).append(float(milliseconds))
