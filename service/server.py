"""application -> a uvicorn server that drains before it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import click
import uvicorn

from service.app import Application
from service.gate import gate_of
from service.settings import Settings

_INTERRUPT = signal.SIGINT
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
LAST_REQUESTS = 0.2  # seconds


class DrainingServer(uvicorn.Server):
    """On SIGTERM: not ready, wait `drain_seconds`, finish what is in flight, exit 0. A second
    signal ends the waiting, and so does Ctrl-C from the start.
    """

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        registry, settings = self._application.service.registry, self._application.service.settings
        if registry.draining or sig == _INTERRUPT:
            self.should_exit = True
        registry.draining = True
        self._stop_at = monotonic() + settings.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        ended = await super().on_tick(counter)
        return ended or (self._stop_at is not None and monotonic() >= self._stop_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for sock in sockets or []:
            await self._accept_last(sock)
        for server in self.servers:
            server.close()
        await asyncio.sleep(LAST_REQUESTS)  # those on their way over connections that are open
        await super().shutdown(sockets)

    async def _accept_last(self, sock: socket.socket) -> None:
        """Take in connections that the kernel has accepted and closing would reset."""
        loop, config = asyncio.get_running_loop(), self.config
        protocol: Any = config.http_protocol_class
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:  # none is left
                return
            await loop.connect_accepted_socket(
                lambda: protocol(
                    config=config, server_state=self.server_state, app_state=self.lifespan.state
                ),
                connection,
                ssl=config.ssl,
            )


def listen(settings: Settings) -> tuple[socket.socket, str]:
    """The listening socket and its address; port 0 picks a free one."""
    try:
        if settings.uds is not None:
            return _listen_uds(settings.uds), f"unix:{settings.uds}"
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        address = (settings.host, settings.port)
        server = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = settings.uds or f"port {settings.port} of {settings.host}"
        raise click.UsageError(
            f"{where} must be free to listen on: {error.strerror}. "
            "Choose another one; --port 0 picks a free port."
        ) from error
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return server, f"{scheme}://{host}:{server.getsockname()[1]}"


def _listen_uds(path: Path) -> socket.socket:
    if path.is_socket():
        path.unlink()  # left by a process that was killed
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    os.chmod(path, 0o660)
    server.listen(BACKLOG)
    return server


def announce(address: str) -> None:
    """One line that people and scripts wait for."""
    print(f"listening on {address}", file=sys.stderr, flush=True)


def server_of(settings: Settings) -> DrainingServer:
    """A server with its artifact loaded and verified."""
    application = Application.of(settings)
    config = uvicorn.Config(
        application.asgi,
        http=gate_of(application.edge),
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.stop_seconds),
        limit_concurrency=settings.max_connections,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    return DrainingServer(config, application)
