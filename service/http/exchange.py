"""ASGI -> Request, Reply -> ASGI: what the hot routes speak, without a framework in between."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from os import urandom
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_counter = count(1)
_prefix = urandom(6).hex()

SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
CLOSE = (b"connection", b"close")

# in a scope: the request has a place among those being scored; its connection is to be left unread
# for a moment after the answer; how to answer it in one write, False where ASGI's way must be gone
PLACED, HOLD, WRITE = "vaewatch.placed", "vaewatch.hold", "vaewatch.write"


class Request:
    """One HTTP request as it comes from the server."""

    __slots__ = (
        "headers",
        "id",
        "method",
        "path",
        "placed",
        "query",
        "receive",
        "records",
        "scope",
        "size",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.id = request_id(self.headers.get(b"x-request-id"))
        self.records = 0  # told by the route, for the log
        self.size = 0  # bytes of the body
        self.placed: bool = scope.get(PLACED, False)


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def request_id(given: bytes | None) -> str:
    """The caller's id if it is a plain one, so that no log line can be forged; else our own."""
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode()
    return f"{_prefix}{next(_counter):x}"


def id_header(request: Request) -> Header:
    return b"x-request-id", request.id.encode()


async def send_reply(send: Send, request: Request, reply: Reply, extra: Headers) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [*reply.headers, length, id_header(request), *extra]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
