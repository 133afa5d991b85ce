"""request -> body, within limits: bytes of one body, bytes of all bodies, seconds, requests.

Nothing waits in a queue that has no end: what is over a limit is refused at once.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vaewatch.service.http.exchange import Request
from vaewatch.service.http.problems import Malformed, Overloaded, TooLarge, TooSlow, Unsupported
from vaewatch.service.settings import Settings

GZIP = 31  # zlib's window bits for a gzip header and trailer


class Disconnected(Exception):
    """The client went away before its body was whole; there is nobody to answer."""


@dataclass
class Limits:
    """How much is held now, and how much may be."""

    settings: Settings
    in_flight: int = (
        0  # requests whose body is whole and whose answer is not; see `vaewatch.service.http.gate`
    )
    pending_bytes: int = 0  # of all bodies held

    @property
    def full(self) -> bool:
        return self.in_flight >= self.settings.max_in_flight

    def overloaded(self) -> Overloaded:
        """What a request is told that finds no place."""
        return Overloaded(
            f"at most {self.settings.max_in_flight} requests are scored at one time. "
            "Try again after Retry-After seconds."
        )

    def enter(self, request: Request) -> None:
        """A place among the requests being scored, unless it has one; or a refusal."""
        self._require_room(request)
        if not request.placed:
            request.placed = True
            self.in_flight += 1

    def admit(self, size: int) -> bool:
        """Whether a body of so many bytes is within the limits."""
        most = self.settings.max_pending_bytes - self.pending_bytes
        return size <= min(self.settings.max_body_bytes, most)

    def leave(self, request: Request) -> None:
        """Give the place back, if there is one."""
        if request.placed:
            request.placed = False
            self.in_flight -= 1

    def _require_room(self, request: Request) -> None:
        if self.full and not request.placed:
            raise self.overloaded()

    @contextmanager
    def held(self, request: Request) -> Iterator[None]:
        """Give back the bytes of a request's body when its answer is made."""
        try:
            yield
        finally:
            self.release(request)

    def release(self, request: Request) -> None:
        """Give back the bytes of a request's body."""
        self.pending_bytes -= request.size

    async def read(self, request: Request) -> bytes:
        """The whole body, unpacked."""
        self._check_declared(request)
        self._require_room(request)  # before the body: a refusal must cost little
        whole = request.placed  # there is nothing to wait for
        body = await (self._receive(request) if whole else self._receive_in_time(request))
        return self._unpacked(request, body)

    def _check_declared(self, request: Request) -> None:
        declared = request.headers.get(b"content-length", b"0")
        if len(declared) > 15 or int(declared) > self.settings.max_body_bytes:
            raise self._too_large()

    async def _receive_in_time(self, request: Request) -> bytes:
        try:
            async with asyncio.timeout(self.settings.body_timeout):
                return await self._receive(request)
        except TimeoutError:
            raise TooSlow(
                f"a body must arrive within {self.settings.body_timeout:g} seconds."
            ) from None

    async def _receive(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            self.hold(request, len(message.get("body", b"")))
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def hold(self, request: Request, size: int) -> None:
        """Count bytes of a request's body as held."""
        request.size += size
        self.pending_bytes += size
        if request.size > self.settings.max_body_bytes:
            raise self._too_large()
        if self.pending_bytes > self.settings.max_pending_bytes:
            raise Overloaded(
                f"at most {self.settings.max_pending_bytes:,} bytes of bodies are held at one "
                "time. Try again after Retry-After seconds."
            )

    def _unpacked(self, request: Request, body: bytes) -> bytes:
        encoding = request.headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding == b"identity":
            return body
        if encoding != b"gzip":
            raise Unsupported("content-encoding must be gzip or identity, got another one.")
        unpacker = zlib.decompressobj(GZIP)
        try:
            plain = unpacker.decompress(body, self.settings.max_body_bytes + 1)
        except zlib.error:
            raise Malformed("the body must be gzip, as content-encoding says.") from None
        if len(plain) > self.settings.max_body_bytes:
            raise self._too_large()
        if not unpacker.eof or unpacker.unused_data:
            raise Malformed("the body must be one whole gzip stream.")
        self._hold_unpacked(request, len(plain))
        return plain

    def _hold_unpacked(self, request: Request, size: int) -> None:
        packed, request.size = request.size, 0
        self.pending_bytes -= packed
        self.hold(request, size)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"a body must be at most {self.settings.max_body_bytes:,} bytes. Send it in parts."
        )
