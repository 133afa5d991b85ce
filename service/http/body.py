"""request -> its whole body, unpacked, within the limits of size and time."""

from __future__ import annotations

import asyncio
import zlib

from vaewatch.service.http.exchange import Request
from vaewatch.service.http.problems import Malformed, TooSlow, Unsupported

GZIP = 31  # zlib's window bits for a gzip header and trailer


class Disconnected(Exception):
    """The client left before its body was whole; nobody waits for an answer."""


async def read_body(request: Request) -> bytes:
    """Read the whole body, unpack it, and take a slot among the requests being scored."""
    place = request.place
    _check_declared(request)
    place.require_slot()  # before the body: a refusal must cost little
    # with a slot the body has come already, and there is nothing to wait for
    body = await (_receive(request) if place.slotted else _receive_in_time(request))
    plain = _unpacked(request, body)
    place.take_slot()
    return plain


def _check_declared(request: Request) -> None:
    limits = request.place.limits
    declared = request.headers.get(b"content-length", b"0")
    if len(declared) > 15 or int(declared) > limits.settings.max_body_bytes:
        raise limits.too_large()


async def _receive_in_time(request: Request) -> bytes:
    seconds = request.place.limits.settings.body_timeout
    try:
        async with asyncio.timeout(seconds):
            return await _receive(request)
    except TimeoutError:
        raise TooSlow(f"a body must arrive within {seconds:g} seconds.") from None


async def _receive(request: Request) -> bytes:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        request.place.hold(len(message.get("body", b"")))
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unpacked(request: Request, body: bytes) -> bytes:
    encoding = request.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    if encoding != b"gzip":
        raise Unsupported("content-encoding must be gzip or identity, got another one.")
    limits = request.place.limits
    unpacker = zlib.decompressobj(GZIP)
    try:
        plain = unpacker.decompress(body, limits.settings.max_body_bytes + 1)
    except zlib.error:
        raise Malformed("the body must be gzip, as content-encoding says.") from None
    if len(plain) > limits.settings.max_body_bytes:
        raise limits.too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise Malformed("the body must be one whole gzip stream.")
    request.place.hold_unpacked(len(plain))
    return plain
