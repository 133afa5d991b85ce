"""request -> its whole body, unpacked, within the limits of size and time."""

from __future__ import annotations

import asyncio
import zlib

from vaewatch.service.http.auth import require_same_origin
from vaewatch.service.http.exchange import BROKEN, Request
from vaewatch.service.http.problems import Malformed, TooSlow, Unsupported, shown

GZIP = 31  # zlib's window bits for a gzip header and trailer
STEP = 16 << 10  # bytes
MOST_MEMBERS = 10_000  # of one body: tools that pack side by side make one for each 64 KiB or more
FORM = b"application/x-www-form-urlencoded"  # what `curl -d` calls any body
# what the Fetch standard lets a page of any site send without asking first; no type is another
UNASKED = (FORM, b"multipart/form-data", b"text/plain")


class Disconnected(Exception):
    """The client left before its body was whole; nobody waits for an answer."""


def media_type_in(request: Request) -> bytes | None:
    """Return the media type that a request gives its body, in lower case; None if it gives none.

    Raises:
        Forbidden: a page of another site sent it without asking first.
    """
    name = request.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if not name or name in UNASKED:
        require_same_origin(request)
    return name or None


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
    broken = request.scope.get(BROKEN)
    if broken is not None:
        raise broken
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unpacked(request: Request, body: bytes) -> bytes:
    encoding = request.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"x-gzip"):  # two names of one coding
        raise Unsupported(f"content-encoding must be gzip or identity, got {shown(encoding)}.")
    limits = request.place.limits
    try:
        plain = _gunzipped(body, limits.settings.max_body_bytes)
    except zlib.error:
        raise Malformed("the body must be gzip, as content-encoding says.") from None
    if plain is None:
        raise limits.too_large()
    request.place.hold_unpacked(len(plain))
    return plain


def _gunzipped(body: bytes, most: int) -> bytes | None:
    """Unpack the members of a gzip body; None if there are more than `most` bytes.

    Each member's end copies the rest of what it was given, so it is given a step at a time.
    """
    plain, view, at, members = bytearray(), memoryview(body), 0, 0
    while at < len(view):
        unpacker, members = zlib.decompressobj(GZIP), members + 1
        if members > MOST_MEMBERS:
            raise Malformed(f"a gzip body must have at most {MOST_MEMBERS:,} members.")
        while not unpacker.eof:
            step = view[at : at + STEP]
            if not step:
                raise Malformed("the body must be whole gzip streams, got the start of one.")
            at += len(step)
            plain += unpacker.decompress(step, most + 1 - len(plain))
            if len(plain) > most:
                return None
        at -= len(unpacker.unused_data)
        while at < len(view) and not view[at]:  # zeros after a member are padding
            at += 1
    return bytes(plain)
