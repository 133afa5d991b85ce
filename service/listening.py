"""settings -> the socket that the service listens on, from its first client to its last."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

import click

from service.settings import Settings

BACKLOG = 2048
SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; Python has no name for it
# For the kernel's packet filter, <linux/filter.h>: a packet without ACK would open a connection.
NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *line)
    for line in (
        (0x30, 0, 0, 13),  # load byte 13 of the TCP header, the flags
        (0x45, 0, 1, 0x10),  # has it ACK? if not, skip one line
        (0x06, 0, 0, 0xFFFFFFFF),  # let it in
        (0x06, 0, 0, 0),  # drop it
    )
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


def admit_no_more(sock: socket.socket) -> None:
    """Have the kernel let nobody in who is not yet connected.

    Closing the socket resets those whom the kernel has let in and the service has not accepted
    yet. Who meets this instead is refused when it tries again, a second later: it knows that it
    was not heard. Where there is no such filter (other systems, a UDS) nothing happens.
    """
    program = ctypes.create_string_buffer(NO_NEW_CONNECTIONS, len(NO_NEW_CONNECTIONS))
    filters = struct.pack("HP", len(NO_NEW_CONNECTIONS) // 8, ctypes.addressof(program))
    if sys.platform == "linux" and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)
