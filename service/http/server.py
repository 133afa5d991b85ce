"""A uvicorn server that drains before it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from math import ceil
from time import monotonic
from types import FrameType
from typing import Any, Protocol, cast, runtime_checkable

import uvicorn
from starlette.types import ASGIApp

from vaewatch.service.http.edge import Edge
from vaewatch.service.http.handshake import Handshake, TlsServer
from vaewatch.service.http.listening import BACKLOG, Listener, notify
from vaewatch.service.http.wire.protocol import protocol_of
from vaewatch.service.settings import Settings
from vaewatch.service.signals import ignore_changes, parent_pid

_INTERRUPT = signal.SIGINT
KEEP_ALIVE_SECONDS = 75
LAST_CONNECTIONS = 0.2  # seconds, in which the half-open ones open
STEP = 0.05  # seconds
TICKS = 10  # of the server, which make a second
Ready = Callable[[], None]
USED, UNUSED = 4, 40  # steps to wait for a last request on connections that had one, or none


@runtime_checkable
class Aging(Protocol):
    """A connection that closes itself if its client is too slow."""

    def age(self, now: float) -> None:
        """Close it if it is time."""


class DrainingServer(uvicorn.Server):
    """On SIGTERM it is not ready, waits `drain_seconds`, answers the last requests, and exits 0.
    A second signal ends the wait, and Ctrl-C skips it.
    """

    def __init__(
        self, config: uvicorn.Config, edge: Edge, drain_seconds: float, ready: Ready
    ) -> None:
        super().__init__(config)
        self._edge, self._registry = edge, edge.registry
        self._drain_seconds, self._ready = drain_seconds, ready
        self._stop_at: float | None = None
        self._listener: Listener | None = None
        self._tls: TlsServer | None = None

    def run_on(self, listener: Listener) -> None:
        """Serve the clients of a listener that no other process shares."""
        self._listener = listener
        self.run([listener.sock])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        own = self.config.ssl is not None and isinstance(self.config.http, type)
        await super().startup([] if own else sockets)
        if own:
            for sock in sockets or []:
                self._tls = self._tls_server(sock)
                self._tls.start()
                self.servers.append(cast(asyncio.Server, self._tls))
        self._ready()

    def _tls_server(self, sock: socket.socket) -> TlsServer:
        context, members = self.config.ssl, cast(set[Any], self.server_state.connections)
        assert context is not None

        def opened(handshake: Handshake) -> Any:
            protocol = self._protocol()
            protocol.opening = handshake
            return protocol

        return TlsServer(sock, context, self._edge, members, opened)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._registry.draining or sig == _INTERRUPT:
            self.should_exit = True
        if not self._registry.draining and parent_pid() is None:
            notify("STOPPING=1")
        self._registry.draining = True
        self._stop_at = monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        if counter % TICKS == 0:
            self._age()
            self._edge.keys.look_again()
        return ended or (self._stop_at is not None and monotonic() >= self._stop_at)

    def _age(self) -> None:
        now = monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Aging):
                connection.age(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        listener = self._listener
        if listener is not None:
            listener.admit_no_more()
        local = listener is not None and listener.is_local
        await asyncio.sleep(STEP if local else LAST_CONNECTIONS)
        for sock in sockets or []:
            await self._accept_last(sock)
        for server in self.servers:
            server.close()
        await self._last_requests()
        await super().shutdown(sockets)
        ignore_changes()

    async def _last_requests(self) -> None:
        """Wait for requests that are on their way over open connections, longest while one of
        these has asked nothing yet: it was opened to ask something. Where none is open, one step
        is enough for those that were accepted a moment ago.

        It waits in steps: after a stall of the machine a clock would say that the time is over
        before the requests that came meanwhile are read.
        """
        connections: set[Any] = self.server_state.connections
        for step in range(UNUSED):
            if step > 0 and not connections:
                return
            # an attribute of uvicorn's own; without it, all count as used
            unused = any(getattr(each, "cycle", each) is None for each in connections)
            if step >= USED and (self.should_exit or not unused):
                return
            await asyncio.sleep(STEP)

    async def _accept_last(self, sock: socket.socket) -> None:
        """Accept the connections that the kernel has let in: closing the socket would reset them.
        One that fails, or is slow to agree on TLS, does not hold up the others.
        """
        opening: list[Awaitable[Any]] = []
        for _ in range(BACKLOG):
            try:
                connection, _ = sock.accept()
            except OSError:  # none is left
                break
            opening.append(self._open(connection))
        with suppress(TimeoutError):
            every = asyncio.gather(*opening, return_exceptions=True)
            await asyncio.wait_for(every, LAST_CONNECTIONS)

    def _open(self, connection: socket.socket) -> Awaitable[Any]:
        if self._tls is not None:
            return self._tls.open(connection)
        loop = asyncio.get_running_loop()
        return loop.connect_accepted_socket(self._protocol, connection, ssl=self.config.ssl)

    def _protocol(self) -> Any:
        """Make the protocol of a connection, as uvicorn's server does."""
        kind = cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class)
        state = self.lifespan.state
        return kind(config=self.config, server_state=self.server_state, app_state=state)


def server_of(
    edge: Edge, asgi: ASGIApp, settings: Settings, ready: Ready | None = None
) -> DrainingServer:
    """Make the server of an application, whose outermost layer but for tracing is the edge.

    ready: called when requests can be answered; by default systemd is notified.
    """
    ready = ready or partial(notify, "READY=1")
    protocol = protocol_of(edge)
    config = uvicorn.Config(
        asgi,
        http=protocol,
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ceil(settings.stop_seconds),  # it takes whole ones
        limit_concurrency=None if isinstance(protocol, type) else settings.max_connections,
        ws="none",
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return DrainingServer(config, edge, settings.drain_seconds, ready)
