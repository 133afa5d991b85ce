"""servers and bodies -> rates and latencies, with client and server on a core each."""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
"""
)


@dataclass(frozen=True)
class Server:
    """A running server: its process, and the seconds until its first answer."""

    pid: int
    url: str
    ready_seconds: float

    def cpu_seconds(self) -> float:
        return sum(map(_cpu_seconds, _family(self.pid)))

    def resident_mb(self) -> float:
        return sum(map(_resident_mb, _family(self.pid)))


@dataclass(frozen=True)
class Pace:
    """Requests per second and their spacing; see `benchmarks.arrivals`."""

    rate: float
    spacing: str


@dataclass(frozen=True)
class Load:
    """The requests to send. Without a pace, each wrk connection sends the next when answered."""

    name: str
    server: Server
    path: str
    body: Path
    records: int
    connections: int
    pace: Pace | None = None


@dataclass
class Rounds:
    """The results of a load, one value per round."""

    answered: list[int] = field(default_factory=list)  # requests
    requests: list[float] = field(default_factory=list)  # a second
    requests_cpu: list[float] = field(default_factory=list)  # a second of the server's time
    # percentile -> ms; where there is a pace, "sent" is by when 99 % were sent after they were due
    latency: dict[str, list[float]] = field(default_factory=dict)

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
    """Start a server on the server's core, and wait until it answers a body with 200."""
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


def measure(load: Load, folder: Path, seconds: int, into: Rounds) -> None:
    """Run one round of a load."""
    before = load.server.cpu_seconds()
    if load.pace is None:
        answered, rate, latency = _as_fast_as_answered(load, folder, seconds)
    else:
        answered, rate, latency = _when_due(load, load.pace, seconds, seed=len(into.requests))
    used = load.server.cpu_seconds() - before
    into.answered.append(answered)
    into.requests.append(rate)
    into.requests_cpu.append(answered / used)
    for share, milliseconds in latency.items():
        into.latency.setdefault(share, []).append(milliseconds)


Found = tuple[int, float, dict[str, float]]  # answers, answers a second, percentile -> ms


def on_core(core: str, *words: str) -> str:
    """Run a command on one core and return its output."""
    pinned = ["taskset", "-c", core, *words]
    done = subprocess.run(pinned, capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _as_fast_as_answered(load: Load, folder: Path, seconds: int) -> Found:
    script = folder / "load.lua"
    script.write_text(LUA.format(body=load.body))
    words = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s"]
    out = on_core(CLIENT_CORE, *words, "-s", str(script), load.server.url + load.path)
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"{load.name}: not every request was answered well:\n{out}")
    done, rate = (
        re.search(pattern, out) for pattern in (r"(\d+) requests in", r"Requests/sec: +([\d.]+)")
    )
    assert done is not None and rate is not None
    lines = re.findall(r"^percentile ([\d.]+) ([\d.]+)$", out, re.M)
    return int(done.group(1)), float(rate.group(1)), {p: float(ms) for p, ms in lines}


def _when_due(load: Load, pace: Pace, seconds: int, seed: int) -> Found:
    words = [sys.executable, "-m", "benchmarks.arrivals", load.server.url + load.path]
    words += [str(load.body), "--rate", str(pace.rate), "--seconds", str(seconds)]
    words += ["--spacing", pace.spacing, "--seed", str(seed)]
    found = json.loads(on_core(CLIENT_CORE, *words))
    latency = {share: found[f"p{share}"] for share in PERCENTILES} | {"sent": found["late_p99"]}
    return found["requests"], found["rate"], latency
