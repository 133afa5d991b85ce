"""socket -> connections over TLS, each of which counts before its client has agreed on TLS.

asyncio's own server knows a client only once it has: nothing would bound those that never do.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from vaewatch.service.http.edge import Edge

log = logging.getLogger("vaewatch.service")

AT_ONCE = 64  # clients accepted before others are answered
REST_SECONDS = 1.0  # without accepting, after the system could open no more files

Opened = Callable[["Handshake"], asyncio.Protocol]


@dataclass(eq=False)
class Handshake:
    """A client that has not agreed on TLS yet, among uvicorn's connections and in the crowd."""

    edge: Edge
    members: set[Any]
    since: float = field(default_factory=monotonic)
    surplus: bool = False
    cycle: None = None  # it has asked nothing yet
    _task: asyncio.Task[Any] | None = None

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Join the crowd. `task` agrees on TLS; cancelling it closes the connection."""
        self._task = task
        self.members.add(self)
        self.edge.metrics.connections_open += 1
        self.edge.crowd.admit(self, self.members)

    def end(self) -> None:
        """Leave the crowd, if it is still in it."""
        if self in self.members:
            self.members.remove(self)
            self.edge.metrics.connections_open -= 1

    def idle_since(self, now: float) -> float | None:
        """The time since which it is open: nothing is lost by closing it."""
        return self.since

    def drop(self) -> None:
        """Close the connection."""
        self.end()
        if self._task is not None:
            self._task.cancel()

    shutdown = drop  # as uvicorn calls it at its end


@dataclass(eq=False)
class TlsServer:
    """Accepts clients, in place of asyncio's server, whose methods it has.

    opened: makes the protocol of a client.
    """

    sock: socket.socket
    context: ssl.SSLContext
    edge: Edge
    members: set[Any]
    opened: Opened
    _closed: bool = False

    def start(self) -> None:
        """Accept clients from now on."""
        self.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self.sock, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        asyncio.get_running_loop().remove_reader(self.sock)

    async def wait_closed(self) -> None:
        """Return at once: what has been accepted is uvicorn's to wait for."""

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                client, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            self.open(client)

    def _rest(self, error: OSError) -> None:
        log.error("no connection could be accepted: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.sock)
        loop.call_later(REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if not self._closed and self.sock.fileno() >= 0:
            self.start()

    def open(self, client: socket.socket) -> asyncio.Task[Any]:
        """Agree on TLS with a client, and serve it."""
        handshake = Handshake(self.edge, self.members)
        task = asyncio.ensure_future(self._agree(client, handshake))

        def ended(task: asyncio.Task[Any]) -> None:
            handshake.end()
            if task.cancelled() or task.exception() is not None:  # it speaks no TLS, say
                client.close()

        task.add_done_callback(ended)
        handshake.begin(task)
        return task

    async def _agree(self, client: socket.socket, handshake: Handshake) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self.opened(handshake),
            client,
            ssl=self.context,
            ssl_handshake_timeout=max(0.001, self.edge.limits.settings.body_timeout),
        )
