"""Twenty times the load that the service can bear, from clients that do not heed Retry-After.

The load is a closed loop: each connection asks again the moment it is answered. TOP connections
keep the service busy; 20 times as many are the overload. Clients and service share the machine,
and a request of 100 records costs the service far more than a client, so that it is the service
that is overloaded.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import make_frame
from tests.hammer import Heard, hammer
from tests.live import Live, serving
from tests.test_service_life import until

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
    """Seconds that a client waits for an answer who asks now and then, on a fresh connection."""
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


def measured(live: Live, body: bytes, connections: int, seconds: float) -> tuple[Heard, float]:
    """A load, and what it was answered well in a second of the service's processor time: other
    programs on the machine cannot change that by much.
    """
    until(lambda: live.value("vaewatch_requests_in_progress") == 1)  # the scrape itself
    before = cpu_seconds(live)
    heard = hammer(live.url, "/v1/score", body, connections=connections, seconds=seconds)
    return heard, heard.count(200) / (cpu_seconds(live) - before)


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
    # who asks again at once waits for the refusal; who does not is refused at once
    assert statistics.median(waits) < statistics.median(over.by_status[429])
    count = "vaewatch_request_duration_seconds_count"
    assert live.value(count, route="/v1/score", code="429") >= over.count(429)


def test_an_overload_leaves_most_of_the_goodput(live: Live, body: bytes):
    require_goodput(live, body, 4)


@pytest.mark.long
def test_half_a_minute_of_overload_leaves_most_of_the_goodput(live: Live, body: bytes):
    require_goodput(live, body, 30)
