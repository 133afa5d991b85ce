"""Plain requests are answered without a task for each, with the same bytes."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_frame
from vaewatch.service.app import Application
from vaewatch.service.http.edge import GONE
from vaewatch.service.http.server import server_of
from vaewatch.service.settings import Settings

KEY = "a key of the tests"
RECORDS = [json.loads(line) for line in make_frame(3).drop("order").write_ndjson().splitlines()]
PLAIN = json.dumps({"records": RECORDS}).encode()
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
BAD = json.dumps({"records": [{**RECORDS[0], "amount": "much"}, RECORDS[1]]}).encode()


class Here:
    """A service in this process: which requests it took without a task, and its application."""

    def __init__(self, settings: Settings) -> None:
        self.application, self.taken = Application.of(settings), list[bool]()
        self.server = server_of(self.application.edge, self.application.asgi, settings)
        self.server.config.load()
        edge, take = self.application.edge, self.application.edge.take

        def watched(*words: Any) -> bool:
            self.taken.append(take(*words))
            return self.taken[-1]

        edge.take = watched  # type: ignore[method-assign]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        config, state = self.server.config, self.server.server_state
        protocol: Any = config.http_protocol_class
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config, state, {}), "127.0.0.1", 0
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    def counted(self, status: int) -> float:
        """Requests to score that got this status."""
        self.application.service.monitor.flush()
        labels = {"code": str(status), "method": "POST", "route": "/v1/score"}
        registry = self.application.service.metrics.registry
        name = "vaewatch_request_duration_seconds_count"
        return registry.get_sample_value(name, labels) or 0.0


def request(body: bytes, query: str = "", *headers: str) -> bytes:
    lines = [f"POST /v1/score{query} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    given = {line.split(":")[0] for line in headers}
    lines += [] if "x-api-key" in given else [f"x-api-key: {KEY}"]
    return "\r\n".join([*lines, "x-request-id: same", *headers, "", ""]).encode() + body


async def answer(port: int, *parts: bytes) -> bytes:
    """Send a request in these parts; returns the answer without its date."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.02)
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    body = await reader.readexactly(int(length.group(1)))
    writer.close()
    return re.sub(rb"date: [^\r]*", b"", head) + body


@pytest.mark.parametrize(
    ("plain", "status", "sent"),
    [
        (True, 200, request(PLAIN)),
        (True, 200, request(PLAIN, "?alpha=0.2&explain=2")),
        (True, 200, request(LINES, "", "content-type: application/x-ndjson")),
        (True, 200, request(PLAIN, "", "connection: close")),
        (False, 200, request(BAD, "?on_error=null")),
        (False, 422, request(BAD)),
        (False, 400, request(PLAIN, "?explian=2")),
        (False, 401, request(PLAIN, "", "x-api-key: another")),
        (False, 415, request(PLAIN, "", "content-type: text/html")),
        (False, 413, request(PLAIN + b" " * 5000)),
    ],
)
def test_whole_or_in_parts_a_request_is_answered_alike(
    artifact_path: Path, plain: bool, status: int, sent: bytes
):
    settings = Settings(artifact_path, key=KEY, max_body_bytes=len(PLAIN) + 4000)

    async def both() -> None:
        here = Here(settings)
        async with here.listening() as port:
            whole = await answer(port, sent)
            assert here.taken == [plain]
            parts = await answer(port, sent[:-10], sent[-10:])
            assert here.taken == [plain], "a request that comes in parts has a task"
        assert whole.startswith(b"HTTP/1.1 %d " % status) and whole == parts
        assert here.counted(status) == 2
        assert here.application.service.limits.in_flight == 0
        assert here.application.service.limits.pending_bytes == 0

    asyncio.run(both())


def test_a_batch_that_fails_fails_each_of_its_requests(artifact_path: Path):
    async def ask() -> tuple[Here, list[bytes]]:
        here = Here(Settings(artifact_path, key=KEY))
        registry = here.application.service.registry
        registry.model = replace(registry.active, scorer=here.application)  # it cannot score
        async with here.listening() as port:
            asked = [answer(port, request(PLAIN)) for _ in range(3)]
            return here, await asyncio.gather(*asked)

    here, answers = asyncio.run(ask())
    assert here.taken == [True] * 3
    for one in answers:
        assert one.startswith(b"HTTP/1.1 500 ") and b"the service failed on this request" in one


def test_clients_that_leave_are_counted_and_hold_no_place(artifact_path: Path):
    async def leave() -> None:
        here = Here(Settings(artifact_path))
        async with here.listening() as port:
            for _ in range(20):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall(request(PLAIN))
                client.close()
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)
        assert here.counted(GONE) + here.counted(200) == len(here.taken) == 20
        assert here.application.service.limits.in_flight == 0

    asyncio.run(leave())


@pytest.mark.parametrize(("asked", "given"), [(0.5, 1), (3.0, 3), (1.1, 2)])
def test_the_last_requests_have_no_less_time_than_was_asked_for(
    artifact_path: Path, asked: float, given: int
):
    """The server takes whole seconds alone."""
    server = Here(Settings(artifact_path, stop_seconds=asked)).server
    assert server.config.timeout_graceful_shutdown == given
