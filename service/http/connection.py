"""bytes -> requests: one connection, however odd its client.

uvicorn's own protocol bounds no head, loses the body of a request that asks for another protocol,
takes trailers for headers, closes before it has answered a client that has shut down its side,
and answers what it cannot parse in plain text. Here each of these is an answer like any other.

It builds on private names of uvicorn, as `vaewatch.service.http.gate` does.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from time import monotonic
from typing import Any, ClassVar, cast

import httptools
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
from vaewatch.service.http.faults import NOWHERE, Deaf, fault_of
from vaewatch.service.http.limits import Member
from vaewatch.service.http.problems import (
    HeadTooLarge,
    Malformed,
    MethodNotAllowed,
    TooSlow,
)

MOST_HEAD = 64 << 10  # bytes of a request line, headers and trailers, and of the sizes of chunks
STEP = 16 << 10  # bytes parsed at a time where the head may be too large
MOST_UNREAD = 64 << 10  # bytes of a body that the application has not asked for
MOST_PIPELINED = 64  # requests that wait on one connection for the answers before theirs
IDLE_SECONDS = 75.0  # without a request
STALLED_SECONDS = 30.0  # in which a client reads nothing of its answers
LINGER_SECONDS = 2.0  # in which the last answer is read, while the rest of the request is dropped


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()  # a request
    HEAD = auto()  # the rest of a head
    REST = auto()  # the rest of a body that has its answer already
    BUSY = auto()  # a body, or an answer


class Connection(HttpToolsProtocol):
    """One connection.

    since: the loop's time at which it was first seen in its phase; it is looked at every second.
    surplus: there are more than `max_connections`, so that only probes are answered.
    """

    edge: ClassVar[Edge]
    parser: Any
    since = 0.0
    surplus = False
    _fed = _body = 0  # bytes of the message that is not whole: all, and those of its body
    _completed = False  # a message has become whole in the present read
    _ending = False  # it hears no more
    _fault: Exception | None = None  # to be answered once the requests before it are
    _seen: tuple[Phase, Any, int] = (Phase.IDLE, None, 0)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = monotonic()
        self.edge.metrics.connections_open += 1
        self.edge.crowd.admit(self, cast(set[Member], self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self.edge.metrics.connections_open -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._completed = False
        if self._fed + len(data) > MOST_HEAD:
            self._feed_in_steps(data)
            return
        try:  # as in `_feed`, whose call would cost every request
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as stop:
            self._stop(data, stop)
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.scope is not self.scope:
            self._count(len(data))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as stop:
            self._stop(data, stop)

    def _stop(self, data: bytes, stop: Exception) -> None:
        """Go on after what has stopped the parser."""
        if isinstance(stop, httptools.HttpParserError):
            self._end_with(fault_of(stop))
        else:
            self._ignore_upgrade(data[stop.args[0] :])

    def _feed_in_steps(self, data: bytes) -> None:
        while data and not self._ending:
            step = min(STEP, MOST_HEAD - self._overhead)
            self._completed = False
            self._feed(data[:step])
            self._count(min(step, len(data)))
            data = data[step:]

    @property
    def _overhead(self) -> int:
        """Bytes of the message that are not of its body. Sizes of chunks may be as many again."""
        return self._fed - 2 * self._body

    def _count(self, size: int) -> None:
        """Count bytes of a message that is not whole yet; refuse it if its head is too large."""
        if self._completed:  # which of these bytes are the next message's, nobody knows
            self._fed = self._body = 0
            return
        self._fed += size
        if self._overhead < MOST_HEAD:
            return
        if self._is_open():
            self._end_with(
                HeadTooLarge(
                    "the request line, headers and trailers must be less than "
                    f"{MOST_HEAD:,} bytes together."
                )
            )
        self._fed = self._body = 0  # of line ends before a request there may be any number

    def _is_open(self) -> bool:
        """Whether a message has begun and is not whole."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return self.scope is not None
        return bool(cycle.more_body)

    def _should_upgrade(self) -> bool:
        """Have uvicorn leave a request for another protocol to `_ignore_upgrade`."""
        return True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request again without its wish for another protocol, for which the parser has
        left its body out.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._end_with(MethodNotAllowed("CONNECT is for proxies; this is none.", "GET, POST"))
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(t for t in value.split(b",") if t.strip().lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"".join(b"%b\r\n" % line for line in (*lines, b"")) + rest)

    def _check_pipeline(self) -> None:
        if self._ending or len(self.pipeline) >= MOST_PIPELINED:
            raise Malformed(f"at most {MOST_PIPELINED} requests may wait on a connection.")

    def on_chunk_header(self) -> None:
        """Drop all headers that come after this one's chunk: they are trailers."""
        self.headers = NOWHERE

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._body += len(body)
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > MOST_UNREAD:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._completed, self._fed, self._body = True, 0, 0
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # else it asks for another protocol
            cycle.more_body = False
            cycle.message_event.set()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that has shut down its side; TLS knows no such client."""
        if self.scheme == "https" or self.scope is None:
            return None
        if self._is_open():
            self._end_with(Malformed("the request must be whole, got the end of its connection."))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = self._fault is not None  # whose answer will be the last
            return True
        return None

    # the end

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
        """An answer as HTTP has it."""
        head = _head(reply.status, (*self.server_state.default_headers, *reply.headers, *extra))
        own = b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        body = b"" if request.method == "HEAD" else reply.body
        return head + own % (request.id.encode(), len(reply.body)) + body

    # its age

    def phase(self) -> Phase:
        """What the connection waits for."""
        cycle = self.cycle
        if cycle is None:
            return Phase.IDLE if self.scope is None else Phase.HEAD
        if not cycle.response_complete:
            return Phase.BUSY
        if cycle.scope is not self.scope:
            return Phase.HEAD
        return Phase.REST if cycle.more_body else Phase.IDLE

    def idle_since(self, now: float) -> float | None:
        """The time since which there is nothing to be lost by closing it; None if there is."""
        phase, timer = self._look(now), self.timeout_keep_alive_task
        if phase is Phase.BUSY or self.transport.is_closing():
            return None
        if phase is Phase.IDLE and timer is not None:  # set when the last answer was made
            return timer.when() - self.timeout_keep_alive
        return self.since

    def _look(self, now: float) -> Phase:
        """Note the phase, and since when it lasts."""
        phase, unsent = self.phase(), self.transport.get_write_buffer_size()
        before, scope, unsent_before = self._seen
        if phase is not before or scope is not self.scope or unsent != unsent_before:
            self._seen, self.since = (phase, self.scope, unsent), now
        return phase

    def age(self, now: float) -> None:
        """Close the connection if its client has been too slow."""
        phase = self._look(now)
        waited = now - self.since
        seconds = self.edge.limits.settings.body_timeout
        if self._seen[2] and waited > STALLED_SECONDS:
            self.transport.abort()
        elif self._ending:
            return
        elif phase is Phase.IDLE and waited > IDLE_SECONDS:
            self.transport.close()
        elif phase is Phase.REST and waited > seconds:
            self._close()
        elif phase is Phase.HEAD and waited > seconds:
            self._end_with(TooSlow(f"a head must arrive within {seconds:g} seconds."))

    def drop(self) -> None:
        """Close the connection to make room for another one."""
        self._hear_no_more()
        self.transport.close()


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[HttpHeader, ...]) -> bytes:
    """Write a status and headers as HTTP has them; for a second, nearly all answers share them."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise RuntimeError("a header must be one line")  # the version of an artifact may not be
    return STATUS_LINE[status] + lines
