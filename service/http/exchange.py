"""ASGI -> Request, Reply -> ASGI: what the routes that score speak, without a framework."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from os import urandom
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from vaewatch.service.http.limits import Place
from vaewatch.service.http.problems import Malformed, shown

HttpHeader = tuple[bytes, bytes]
HttpHeaders = Sequence[HttpHeader]

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
# of two of these, a proxy may believe the one and the service the other
ONCE = {
    b"authorization",
    b"content-encoding",
    b"content-type",
    b"host",
    b"inference-header-content-length",
    b"origin",
    b"sec-fetch-site",
    b"transfer-encoding",
    b"x-api-key",
}

# keys of a scope
PLACE = "vaewatch.place"  # the request's place, if its connection has given it one
BROKEN = "vaewatch.broken"  # an exception: why the body ended before its end
HOLD = "vaewatch.hold"  # true: leave the connection unread for a moment after the answer
WRITE = "vaewatch.write"  # a Write, where nothing between the connection and the edge needs ASGI
REQUEST = "vaewatch.request"  # the Request, for routes of the framework


class Request:
    """One HTTP request as it comes from the server."""

    __slots__ = (
        "headers",
        "id",
        "key",
        "method",
        "odd",
        "path",
        "place",
        "query",
        "receive",
        "records",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, place: Place) -> None:
        self.scope, self.receive, self.place = scope, receive, place
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        given = scope["headers"]
        headers: dict[bytes, bytes] = dict(given)
        self.headers = headers
        self.odd = (  # `check_head` must look at it
            b"host" not in headers
            or len(headers) != len(given)
            or b"transfer-encoding" in headers
            or scope["http_version"] != "1.1"
        )
        self.id = request_id(self.headers.get(b"x-request-id"))
        self.records = 0  # set by the route, for the log
        self.key: str | None = None  # the name of the key that opened the route, if one had to


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: HttpHeaders
    body: bytes


# answers in one write, or returns False if the client has left or is slow: then ASGI answers
Write = Callable[[Request, Reply, HttpHeaders], bool]
Done = Callable[[Reply | Exception], None]  # must not raise
Start = Callable[[Done], None]


@dataclass(frozen=True)
class HotRoute:
    """A route that scores. It does without the framework's machinery, which would cost more than
    scoring a record.

    template: names the route in metrics and logs.
    answer: reads the body, and answers it.
    plain: takes a body that came whole, and returns how to start on it without a task; None if
        only `answer` can deal with it. Where it raises, `answer` raises the same.
    """

    template: str
    answer: Callable[[Request], Awaitable[Reply]]
    plain: Callable[[Request, bytes], Start | None] | None = None


HotRoutes = Callable[[str], HotRoute | None]  # path -> its route, if that is a hot one


def check_head(request: Request) -> None:
    """Refuse an odd head that proxies and the service may read differently.

    Raises:
        Malformed: it is of another version, has no host, or one of some headers twice, or another
            coding than chunked.
    """
    headers, given = request.headers, request.scope["headers"]
    version = request.scope["http_version"]
    if b"host" not in headers and version != "1.0":
        raise Malformed("a request must name its host once, in the header 'host'.")
    if version not in ("1.1", "1.0"):
        raise Malformed(f"the version of a request must be HTTP/1.1 or 1.0, got {shown(version)}.")
    if len(given) != len(headers):
        _check_repeated([name for name, _ in given])
    if b"transfer-encoding" in headers:
        _check_coding(request)


def _check_repeated(names: list[bytes]) -> None:
    for name in sorted(ONCE):
        if names.count(name) > 1:
            raise Malformed(f"a request must have one header '{name.decode()}', got several.")


def _check_coding(request: Request) -> None:
    coding = request.headers[b"transfer-encoding"].strip().lower()
    if coding != b"chunked" or request.scope["http_version"] != "1.1":
        raise Malformed(f"transfer-encoding must be chunked, in HTTP/1.1, got {shown(coding)}.")


def request_id(given: bytes | None) -> str:
    """The caller's id if it is a plain one, so that no log line can be forged; else our own."""
    if given is not None and _GIVEN_ID.fullmatch(given):
        return given.decode()
    return f"{_prefix}{next(_counter):x}"


def id_header(request: Request) -> HttpHeader:
    """The header that gives the request's id back."""
    return b"x-request-id", request.id.encode()


async def send_reply(send: Send, request: Request, reply: Reply, extra: HttpHeaders) -> None:
    """Answer over ASGI; `extra` headers come after the reply's own."""
    length = (b"content-length", str(len(reply.body)).encode())
    headers = [*reply.headers, length, id_header(request), *extra]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
