"""bytes -> requests, as long as there are slots: the others are refused before they become tasks.

A refusal by the application costs as much as scoring a record. Here it is one write, and its
connection is then left unread for a moment, so that clients that ask again at once, in spite of
Retry-After, cannot keep the service busy with refusals.

`protocol_of` imports this file only if the private names of uvicorn that it needs are there.
"""

from __future__ import annotations

from asyncio import TimerHandle
from functools import partial
from typing import Any

from vaewatch.service.http.auth import PROBES
from vaewatch.service.http.edge import Edge
from vaewatch.service.http.exchange import (
    CLOSE,
    HOLD,
    PLACE,
    WRITE,
    HttpHeaders,
    Reply,
    Request,
)
from vaewatch.service.http.limits import Place
from vaewatch.service.http.problems import RETRY_AFTER
from vaewatch.service.http.wire.connection import Connection
from vaewatch.service.http.wire.ending import Closing
from vaewatch.service.http.wire.reading import Reader

REFUSALS = 400  # a second, over all connections: the more there are, the longer each one waits


class Gate(Connection):
    """One connection. A request of a hot route waits here until its body is whole, if that comes
    in one read with its head, as most do; then it takes a slot among the requests being scored, or
    is refused. A longer body is read by the application, which finds a slot for it later.
    """

    _feeding = False
    _waiting: tuple[Any, Any] | None = None
    _late: TimerHandle | None = None  # closes a connection whose refused body never ends

    def data_received(self, data: bytes) -> None:
        self._feeding = True
        try:
            Reader.data_received(self, data)  # `super()` would cost every request
        finally:
            self._feeding = False
        if self._waiting is not None:
            self._start()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self.surplus:
            cycle.keep_alive = False
            if cycle.scope["path"] not in PROBES:
                self._turn_away(cycle)
                return
        if self._feeding and app is self.app and self._is_hot(cycle.scope):
            self._waiting = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: Any, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":  # its client would take a 100 for the answer
            cycle.waiting_for_100_continue = False
        if app is self.edge:  # nothing between us and the edge wants to see the answer
            cycle.scope[WRITE] = partial(self._write, cycle)
        if cycle.waiting_for_100_continue and not self._reads_body(cycle, app):
            cycle.keep_alive = False  # the next request could be taken for the body
        transport = self.transport
        cycle.transport = Closing(self, cycle, transport.write, transport.is_closing)
        super()._start_asgi_task(cycle, app)

    def _reads_body(self, cycle: Any, app: Any) -> bool:
        return app is self.edge and self._is_hot(cycle.scope)

    def _is_hot(self, scope: Any) -> bool:
        return scope["method"] == "POST" and self.edge.hot(scope["path"]) is not None

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._begin(*waiting)

    def on_headers_complete(self) -> None:
        if self.pipeline or self._ending:
            self._check_pipeline()
        super().on_headers_complete()
        if self._waiting is not None and self.edge.limits.full:
            self._refuse()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._late is not None:
            self._late.cancel()
            self._late = None
            self._pause()
        elif self._waiting is not None:
            if self.edge.limits.full:
                self._refuse()
            else:
                scope: Any = self.cycle.scope
                scope[PLACE] = Place(self.edge.limits, slotted=True)
                self._take()

    def _take(self) -> None:
        """Hand over a request whose body is whole."""
        assert self._waiting is not None
        cycle, app = self._waiting
        write = partial(self._write, cycle)
        plain = app is self.edge and not self.flow.write_paused
        if plain and self.edge.take(cycle.scope, bytes(cycle.body), write):
            self._waiting = None
        else:
            self._start()

    def _write(self, cycle: Any, request: Request, reply: Reply, extra: HttpHeaders) -> bool:
        """Answer in one write, as `cycle.send` does after checking each header and waiting for a
        client that reads slowly. Returns False if it would have to wait, or the client has left.
        """
        if self.flow.write_paused or cycle.disconnected:
            return False
        if cycle.waiting_for_100_continue and cycle.more_body:
            cycle.keep_alive = False
        answer = self._answer(cycle, request, reply, extra)
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(answer)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.end_after(cycle)
        cycle.on_response()
        cycle.on_response = _nothing  # or it would hold this connection, which holds it
        return True

    def _answer(self, cycle: Any, request: Request, reply: Reply, extra: HttpHeaders) -> bytes:
        if CLOSE in extra or CLOSE in reply.headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            extra = [*extra, CLOSE]
        return self._written(request, reply, extra)

    def _turn_away(self, cycle: Any) -> None:
        """Refuse a request of a connection that is one too many."""
        request, reply, extra = self.edge.refuse(cycle.scope, self.edge.crowd.overfull())
        cycle.response_started = cycle.response_complete = True
        self.transport.write(self._answer(cycle, request, reply, extra))
        self._close()

    def _refuse(self) -> None:
        """Refuse at once; the rest of the body is read and dropped."""
        cycle: Any = self.cycle
        self._waiting = None
        request, reply, extra = self.edge.refuse(cycle.scope, self.edge.limits.overloaded())
        cycle.response_started = cycle.response_complete = True
        close = not cycle.keep_alive or cycle.waiting_for_100_continue
        if close:
            cycle.keep_alive = False
        self.transport.write(self._answer(cycle, request, reply, extra))
        if close:
            self.end_after(cycle)
        elif cycle.more_body:
            seconds = self.edge.limits.settings.body_timeout
            self._late = self.loop.call_later(seconds, self.transport.close)
        else:
            self._pause()

    def on_response_complete(self) -> None:
        scope: Any = self.cycle.scope
        if scope.pop(HOLD, False):
            self._pause()
        else:
            self.go_on()
        if self._fault is not None and self.cycle.response_complete:
            fault, self._fault = self._fault, None
            if not self.transport.is_closing():
                self._answer_fault(fault)

    def _pause(self) -> None:
        self.flow.pause_reading()
        seconds = min(RETRY_AFTER, len(self.connections) / REFUSALS)
        self.loop.call_later(seconds, self.go_on)


def gate_of(edge: Edge) -> type[Gate]:
    """Bind the protocol to one application."""
    return type("BoundGate", (Gate,), {"edge": edge})


def _nothing() -> None:
    """No-op: the end of the response has already been reported."""
