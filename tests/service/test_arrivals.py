"""The load of the serving benchmark: requests come when they are due, and waiting counts."""

from __future__ import annotations

import asyncio
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.arrivals import moments, quantile, send
from benchmarks.stalls import gaps, wait

needs_a_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
BODY = b'{"records": []}'


class Pause:
    """Nobody is answered for so many seconds from the request after so many on."""

    def __init__(self, after: int, seconds: float) -> None:
        self._left, self._seconds = after, seconds
        self._over = asyncio.Event()
        self._over.set()

    async def wait(self) -> None:
        if self._left == 0:
            self._over.clear()
            asyncio.get_running_loop().call_later(self._seconds, self._over.set)
        self._left -= 1
        await self._over.wait()


class Answering(asyncio.Protocol):
    """Answers each request in two pieces, but none while there is a pause."""

    def __init__(self, pause: Pause, status: bytes) -> None:
        self._pause, self._answer = pause, ANSWER.replace(b"200", status)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"POST /v1/score HTTP/1.1\r\n") and data.endswith(BODY)
        self._task = asyncio.ensure_future(self._answer_soon())

    async def _answer_soon(self) -> None:
        await self._pause.wait()
        self._transport.write(self._answer)
        await asyncio.sleep(0)
        self._transport.write(b"ok")


async def serve(
    ports: queue.Queue[int], stop: threading.Event, after: int, seconds: float, status: bytes
) -> None:
    pause, loop = Pause(after, seconds), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(pause, status), "127.0.0.1", 0)
    ports.put(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(stop.wait, 60)  # by then every client has closed its connections
    server.close()
    await asyncio.sleep(0.05)


@contextmanager
def answering(after: int = 0, seconds: float = 0, status: bytes = b"200") -> Iterator[str]:
    """A server of this process, with a pause of so many seconds after so many requests."""
    ports, stop = queue.Queue[int](), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(serve(ports, stop, after, seconds, status))
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=10)}/v1/score"
    finally:
        stop.set()
        thread.join()


def test_random_moments_are_a_poisson_process_and_even_ones_a_beat():
    due = np.array(moments("random", 5000, 20, seed=1))
    assert len(due) == 100_000
    counts = np.bincount((due * 1000).astype(int), minlength=19_000)[:19_000]
    assert 0.95 < counts.var() / counts.mean() < 1.05  # 1 where arrivals know of no other
    even = np.array(moments("even", 5000, 2, seed=1))
    np.testing.assert_allclose(np.diff(even), 1 / 5000, rtol=1e-6)
    assert moments("random", 100, 1, seed=1) != moments("random", 100, 1, seed=2)


@needs_a_compiler
def test_a_request_that_was_due_while_the_server_stood_still_has_waited():
    with answering(after=80, seconds=0.5) as url:
        due = moments("even", 200, 1.2, seed=0)
        found = send(url, BODY, due, connections=4)  # more are due than can be sent
    assert len(found.answered) == len(found.sent) == 240
    waited = [seconds for seconds in found.answered if seconds > 0.1]
    # those of four fifths of the pause; counted from when they were sent it would be four
    assert 60 < len(waited) < 120
    assert 0.4 < max(found.answered) < 5
    assert sum(seconds > 0.1 for seconds in found.sent) > 50
    assert found.report()["requests"] == 240


@needs_a_compiler
def test_an_answer_that_is_not_200_ends_the_measurement():
    with answering(status=b"429") as url:
        with pytest.raises(
            RuntimeError, match="not every request was answered well: HTTP/1.1 429"
        ):
            send(url, BODY, [0.0, 0.01], connections=2)


def test_a_quantile_is_a_value_that_so_many_do_not_pass():
    assert quantile([3.0, 1.0, 2.0, 4.0], 50) == 3.0
    assert quantile([1.0], 99.9) == 1.0


def test_who_comes_in_a_gap_waits_to_its_end():
    found = [0.010] * 5  # half of a tenth of a second
    assert wait(found, 0.1, 40) == 0.0  # half of them meet no gap
    assert wait(found, 0.1, 75) == pytest.approx(0.005)
    assert wait(found, 0.1, 99) == pytest.approx(0.0098)
    seen, looked = gaps(0.05)
    assert 0.05 <= looked < 5 and sum(seen) <= looked
