"""application -> a uvicorn server that drains before it stops."""

from __future__ import annotations

import socket
import sys
from types import FrameType

import click
import uvicorn

from service.app import create_app
from service.settings import Settings

BACKLOG = 2048


class DrainingServer(uvicorn.Server):
    """On SIGTERM: not ready, wait `drain_seconds`, finish what is in flight, exit 0."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """The listening socket; port 0 picks a free one."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    try:
        server = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise click.UsageError(
            f"port {settings.port} of {settings.host} must be free to listen on: "
            f"{error.strerror}. Choose another --port; 0 picks a free one."
        ) from error
    server.set_inheritable(True)
    return server


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    sock = listen(settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    config = uvicorn.Config(
        create_app(settings),
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=75,
    )
    print(f"listening on http://{host}:{sock.getsockname()[1]}", file=sys.stderr, flush=True)
    DrainingServer(config).run([sock])
