"""Twenty times the load that the service can bear, from clients that ignore Retry-After.

The load is a closed loop: each connection asks again the moment it is answered. TOP connections
keep the service busy; 20 times as many are the overload. Clients and service share the machine,
and a request of 100 records costs the service far more than a client, so that it is the service
that is overloaded.
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import make_frame
from tests.live import Live, serving, until
from tests.service.hammer import Answers, hammer

pytestmark = pytest.mark.alone
TOP = 8
OVERLOAD = 20 * TOP


@pytest.fixture
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--max-in-flight", str(TOP), "--no-access-log") as running:
        yield running


@pytest.fixture(scope="module")
def body() -> bytes:
    return json.dumps({"records": make_frame(100).drop("order").to_dicts()}).encode()


def resident_mb(live: Live) -> float:
    text = Path(f"/proc/{live.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024


def cpu_seconds(live: Live) -> float:
    fields = Path(f"/proc/{live.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def polite(live: Live, body: bytes) -> Iterator[list[float]]:
    """The seconds that a client waits which asks now and then, on a fresh connection."""
    waits, ended = list[float](), threading.Event()

    def ask() -> None:
        while not ended.wait(0.2):
            answer = live.post("/v1/score", content=body)
            assert answer.status_code in (200, 429)
            waits.append(answer.elapsed.total_seconds())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        ended.set()
        thread.join()


def measured(live: Live, body: bytes, connections: int, seconds: float) -> tuple[Answers, float]:
    """Run a load; returns its answers, and the good ones in a second of the service's processor
    time, which other programs on the machine cannot change by much.
    """
    until(lambda: live.value("vaewatch_requests_in_progress") == 1)  # the scrape itself
    before = cpu_seconds(live)
    answers = hammer(live.url, "/v1/score", body, connections=connections, seconds=seconds)
    return answers, answers.count(200) / (cpu_seconds(live) - before)


def require_goodput(live: Live, body: bytes, seconds: float) -> None:
    """The top is measured before and after, as machines are not equally fast all the time."""
    before, top = measured(live, body, TOP, seconds / 4)
    held = resident_mb(live)
    with polite(live, body) as waits:
        over, goodput = measured(live, body, OVERLOAD, seconds)
    grown = resident_mb(live) - held
    after, top_after = measured(live, body, TOP, seconds / 4)
    assert before.by_status.keys() == {200}
    assert over.by_status.keys() == {200, 429} and over.broken == 0
    assert goodput > 0.7 * (top + top_after) / 2
    calm = (before.count(200) + after.count(200)) / (seconds / 2)
    assert over.count(200) / seconds > 0.35 * calm  # it is not idle either
    assert grown < 64  # MB: the bound of all bodies
    # clients that ask again at once wait for their refusal, others are refused at once
    assert statistics.median(waits) < statistics.median(over.by_status[429])
    count = "vaewatch_request_duration_seconds_count"
    assert live.value(count, route="/v1/score", code="429") >= over.count(429)


def test_an_overload_leaves_most_of_the_goodput(live: Live, body: bytes):
    require_goodput(live, body, 4)


def refused(live: Live, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """Ask over raw connections until one is refused; gives the head of that answer and the rest,
    read until the service closes the connection.
    """
    port = int(live.url.rsplit(":", 1)[1])
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\n" + head + body)
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))
        head_of_answer, _, rest = answer.rpartition(b"\r\n\r\n")
        if b" 429 " in head_of_answer:
            return head_of_answer, rest
    raise AssertionError("no request was refused")


def test_refusals_are_whole_however_a_body_comes(artifact_path: Path, body: bytes):
    many = json.dumps({"records": make_frame(4000).drop("order").to_dicts()}).encode()
    with serving(artifact_path, "--max-in-flight", "1", "--no-access-log") as live:
        with ThreadPoolExecutor(1) as threads:  # bodies of many reads, scored in a thread
            busy = threads.submit(hammer, live.url, "/v1/score", many, connections=4, seconds=4)
            length = b"content-length: %d\r\n" % len(body)
            closing = b"connection: close\r\n\r\n"
            refusals = [
                refused(live, length + closing, body),
                refused(live, b"transfer-encoding: chunked\r\n" + closing, chunked(body)),
                refused(live, b"expect: 100-continue\r\n" + length + closing, b""),
            ]
            load = busy.result()
        assert load.by_status.keys() == {200, 429} and load.broken == 0
        for head, rest in refusals:
            names = {line.split(b":")[0] for line in head.lower().split(b"\r\n")}
            assert {b"retry-after", b"x-request-id", b"cache-control", b"connection"} <= names
            assert b"content-length: %d" % len(rest) in head.lower()
            problem = json.loads(rest)
            assert (problem["status"], problem["code"]) == (429, "overloaded")
            assert problem["request_id"].encode() in head
        # what the hammer has left is scored to its end; then every place is given back
        until(lambda: live.post("/v1/score", content=body).status_code == 200)


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    parts = (body[:half], body[half:], b"")
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


@pytest.mark.long
def test_half_a_minute_of_overload_leaves_most_of_the_goodput(live: Live, body: bytes):
    require_goodput(live, body, 30)
