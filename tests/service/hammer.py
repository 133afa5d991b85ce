"""Clients that send the next request the moment the last one is answered, whatever the answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop


@dataclass
class Answers:
    """The answers to a load: the seconds that each took, by its status."""

    by_status: dict[int, list[float]] = field(default_factory=dict)
    broken: int = 0  # connections that the service closed
    ended: bool = False

    def count(self, status: int) -> int:
        return len(self.by_status.get(status, ()))


class Hammer(asyncio.Protocol):
    """One connection that always has a request under way."""

    def __init__(self, request: bytes, answers: Answers) -> None:
        self._request, self._answers = request, answers
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        assert len(body) == length
        self._buffer, now = b"", time.monotonic()
        status = int(head.split(b" ", 2)[1])
        self._answers.by_status.setdefault(status, []).append(now - self._sent)
        if not self._answers.ended:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._answers.broken += not self._answers.ended


def hammer(url: str, path: str, body: bytes, *, connections: int, seconds: float) -> Answers:
    """Run a closed loop of many connections; their number is the offered load."""
    where = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    answers = Answers()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        made = [
            loop.create_connection(lambda: Hammer(request, answers), where.hostname, where.port)
            for _ in range(connections)
        ]
        transports = [transport for transport, _ in await asyncio.gather(*made)]
        await asyncio.sleep(seconds)
        answers.ended = True
        for transport in transports:
            transport.abort()

    uvloop.run(run())
    return answers
