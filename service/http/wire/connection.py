"""A connection and its age: what it waits for, since when, and when that is too long."""

from __future__ import annotations

from enum import Enum, auto
from time import monotonic
from typing import Any, cast

from vaewatch.service.http.handshake import Handshake
from vaewatch.service.http.limits import Member
from vaewatch.service.http.problems import Malformed, TooSlow
from vaewatch.service.http.wire.ending import LINGER_SECONDS
from vaewatch.service.http.wire.reading import Reader

IDLE_SECONDS = 75.0  # without a request
STALLED_SECONDS = 30.0  # in which a client reads nothing of its answers


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()  # a request
    HEAD = auto()  # the rest of a head
    REST = auto()  # the rest of a body that has its answer already
    BUSY = auto()  # a body, or an answer


class Connection(Reader):
    """One connection.

    since: the loop's time at which it was first seen in its phase; it is looked at every second.
    surplus: there are more than `max_connections`, so that only probes are answered.
    opening: what has stood for it in the crowd while its client agreed on TLS.
    """

    since = 0.0
    surplus = False
    opening: Handshake | None = None
    _dropped = False
    _answered = 0.0  # when the last answer was made; 0: never
    _seen: tuple[Phase, Any, int] = (Phase.IDLE, None, 0)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.since = monotonic()
        self.edge.metrics.connections_open += 1
        if self.opening is None:
            self.edge.crowd.admit(self, cast(set[Member], self.connections))
        else:
            self.opening.end()
            self.surplus, self.opening = self.opening.surplus, None

    def connection_lost(self, exc: Exception | None) -> None:
        self.edge.metrics.connections_open -= 1
        super().connection_lost(exc)
        if self.cycle is not None:
            self.cycle.transport = self.transport  # else they hold each other

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

    def go_on(self) -> None:
        """Go on after an answer, as uvicorn does but for a timer: to set and cancel one would
        cost every request, and the age of all connections is looked at anyway.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._answered = monotonic()

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
        phase = self._look(now)
        if phase is Phase.BUSY or self._dropped:
            return None
        return self._answered if phase is Phase.IDLE and self._answered else self.since

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

    def shutdown(self) -> None:
        """Close it at the end of the server if it is idle. Over TLS this would wait, long, for a
        client that does not agree to the end.
        """
        super().shutdown()
        if self.scheme == "https" and self.transport.is_closing():
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def drop(self) -> None:
        """Close the connection to make room for another one. It waits for nothing: over TLS it
        would wait until the client agrees to the end, and else until all is sent.
        """
        self._dropped = True
        self._hear_no_more()
        self.transport.abort()
