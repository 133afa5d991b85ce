"""bytes -> requests, while there is room: what is over the limit is refused before it is a task.

A refusal by the application costs as much as scoring a record. Here it is one write, and its
connection is then left unread for a moment: clients that ask again at once, in spite of
Retry-After, cannot have the service do nothing but refuse them.
"""

from __future__ import annotations

from asyncio import TimerHandle
from functools import lru_cache, partial
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vaewatch.service.http.edge import Edge, hot_template
from vaewatch.service.http.exchange import (
    CLOSE,
    HOLD,
    PLACED,
    WRITE,
    Header,
    Headers,
    Reply,
    Request,
)
from vaewatch.service.http.problems import RETRY_AFTER

REFUSALS = 400  # a second, over all connections: the more there are, the longer each one waits


class Gate(HttpToolsProtocol):
    """One connection. A request of a hot route waits here until its body is whole, if that comes
    in one piece with its head, as most do; then it gets a place among those being scored, or a
    refusal. A longer body is read by the application, which finds a place for it later.
    """

    edge: ClassVar[Edge]
    _feeding = False
    _waiting: tuple[Any, Any] | None = None
    _late: TimerHandle | None = None  # closes a connection whose refused body never ends

    def data_received(self, data: bytes) -> None:
        self._feeding = True
        try:
            super().data_received(data)
        finally:
            self._feeding = False
        self._start()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._feeding and app is self.app and _is_hot(cycle.scope):
            self._waiting = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: Any, app: Any) -> None:
        if app is self.edge:  # nothing between us and the edge wants to see the answer
            cycle.scope[WRITE] = partial(self._write, cycle)
        super()._start_asgi_task(cycle, app)

    @property
    def _scope(self) -> Any:
        """Of the latest request."""
        return self.cycle.scope

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._begin(*waiting)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._waiting is not None and self.edge.service.limits.full:
            self._refuse()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._late is not None:
            self._late.cancel()
            self._late = None
            self._pause()
        elif self._waiting is not None:
            limits = self.edge.service.limits
            if limits.full:
                self._refuse()
            else:
                limits.in_flight += 1
                self._scope[PLACED] = True
                self._take()

    def _take(self) -> None:
        """Have a request answered whose body is whole."""
        assert self._waiting is not None
        cycle, app = self._waiting
        write = partial(self._write, cycle)
        plain = app is self.edge and not self.flow.write_paused
        if plain and self.edge.take(cycle.scope, bytes(cycle.body), write):
            self._waiting = None
        else:
            self._start()

    def _write(self, cycle: Any, request: Request, reply: Reply, extra: Headers) -> bool:
        """Answer at once, as `cycle.send` does after it has looked at each header and has waited
        for a client that reads slowly; False where it must wait, or where nobody is left.
        """
        if self.flow.write_paused or cycle.disconnected:
            return False
        answer = self._answer(cycle, request, reply, extra)
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(answer)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        cycle.on_response = _nothing  # or it would hold this connection, which holds it
        return True

    def _answer(self, cycle: Any, request: Request, reply: Reply, extra: Headers) -> bytes:
        if CLOSE in extra or CLOSE in reply.headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            extra = [*extra, CLOSE]
        lines = map(_lines, map(tuple, (self.server_state.default_headers, reply.headers, extra)))
        own = b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        head = STATUS_LINE[reply.status] + b"".join(lines)
        return head + own % (request.id.encode(), len(reply.body)) + reply.body

    def _refuse(self) -> None:
        """Answer at once; what is still to come of the body is read and forgotten."""
        self._waiting, cycle = None, self.cycle
        request, reply, extra = self.edge.refuse(self._scope)
        cycle.response_started = cycle.response_complete = True
        close = not cycle.keep_alive or cycle.waiting_for_100_continue
        if close:
            cycle.keep_alive = False
        self.transport.write(self._answer(cycle, request, reply, extra))
        if close:
            self.transport.close()
        elif cycle.more_body:
            seconds = self.edge.service.settings.body_timeout
            self._late = self.loop.call_later(seconds, self.transport.close)
        else:
            self._pause()

    def on_response_complete(self) -> None:
        if self._scope.pop(HOLD, False):
            self._pause()
        else:
            super().on_response_complete()

    def _pause(self) -> None:
        self._unset_keepalive_if_required()
        self.flow.pause_reading()
        seconds = min(RETRY_AFTER, len(self.connections) / REFUSALS)
        self.loop.call_later(seconds, super().on_response_complete)


def gate_of(edge: Edge) -> type[Gate]:
    """The protocol of one application's connections."""
    return type("BoundGate", (Gate,), {"edge": edge})


def _nothing() -> None:
    """What happens after an answer that was told of."""


def _is_hot(scope: Any) -> bool:
    return scope["method"] == "POST" and hot_template(scope["path"]) is not None


@lru_cache(maxsize=256)
def _lines(headers: tuple[Header, ...]) -> bytes:
    """Headers as they are sent; nearly all answers have the same ones."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        raise RuntimeError("a header must be one line")  # the name of an artifact's version may be
    return lines
