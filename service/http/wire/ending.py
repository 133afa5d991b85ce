"""faults -> the last answer of a connection, and its end.

uvicorn's own protocol answers what it cannot parse in plain text, and closes at once, which can
reset the connection before its client has read the answer. Here a fault is answered like anything
else, once the requests before it are, and the end waits for the client.

This folder builds on private names of uvicorn; `protocol` looks whether they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vaewatch.service.http.edge import Edge
from vaewatch.service.http.exchange import (
    BROKEN,
    CLOSE,
    HttpHeader,
    HttpHeaders,
    Reply,
    Request,
)
from vaewatch.service.http.wire.faults import Deaf

LINGER_SECONDS = 2.0  # in which the last answer is read, while the rest of the request is dropped


class Head(NamedTuple):
    """The head of an answer, as far as others share it, and what it was made of."""

    status: int
    headers: HttpHeaders
    extra: HttpHeaders
    default: HttpHeaders
    lines: bytes


class Ending(HttpToolsProtocol):
    """A connection that can end."""

    edge: ClassVar[Edge]
    parser: Any
    _head: ClassVar[Head] = Head(0, (), (), (), b"")  # of the latest answer
    _ending = False  # nothing more is read
    _fault: Exception | None = None  # to be answered once the requests before it are

    def _is_open(self) -> bool:
        """Whether a message has begun and is not whole."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return self.scope is not None
        return bool(cycle.more_body)

    def _end_with(self, error: Exception) -> None:
        """Hear no more of this client, and answer a fault once what came before has its answer."""
        if self._ending:
            return
        cycle = self.cycle
        self._hear_no_more()
        if cycle is not None and cycle.scope is self.scope and cycle.more_body:
            self._end_body(cycle, error)
        elif cycle is None or cycle.response_complete:
            self._answer_fault(error)
        else:
            self._fault = error

    def _end_body(self, cycle: Any, error: Exception) -> None:
        if cycle.response_complete:
            self._close()
            return
        cycle.scope[BROKEN] = error
        cycle.more_body = cycle.keep_alive = False
        cycle.message_event.set()

    def _hear_no_more(self) -> None:
        self._ending, self.parser = True, Deaf()

    def _answer_fault(self, error: Exception) -> None:
        request, reply, extra = self.edge.refuse_unread(error)
        if CLOSE not in extra and CLOSE not in reply.headers:
            extra = (*extra, CLOSE)
        self.transport.write(self._written(request, reply, extra))
        self._close()

    def end_after(self, cycle: Any) -> None:
        """Close after the answer of a cycle, of which there may be bytes that nobody has read."""
        if cycle.more_body or self._ending:
            self._close()
        else:
            self.transport.close()

    def _close(self) -> None:
        """Close once the answer is sent. Until the client closes, too, what it sends is dropped:
        to close before it is read would reset the connection, and the answer could be lost.
        """
        self._hear_no_more()
        self.pipeline.clear()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _written(self, request: Request, reply: Reply, extra: HttpHeaders) -> bytes:
        """An answer as HTTP has it. One after another share their head, mostly."""
        default, (status, headers, content) = self.server_state.default_headers, reply
        last = self._head
        if not (
            last.status == status
            and last.headers is headers
            and last.extra is extra
            and last.default is default
        ):
            lines = _lines(status, (*default, *headers, *extra))
            last = type(self)._head = Head(status, headers, extra, default, lines)
        own = b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        body = b"" if request.method == "HEAD" else content
        return last.lines + own % (request.id.encode(), len(content)) + body


class Closing(NamedTuple):
    """The transport as a cycle of uvicorn's sees it, which closes it after its last answer."""

    connection: Ending
    cycle: Any
    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]

    def close(self) -> None:
        """Close the connection."""
        self.connection.end_after(self.cycle)


@lru_cache(maxsize=256)
def _lines(status: int, headers: tuple[HttpHeader, ...]) -> bytes:
    """Write a status and headers as HTTP has them; for a second, nearly all answers share them."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise RuntimeError("a header must be one line")  # the version of an artifact may not be
    return STATUS_LINE[status] + lines
