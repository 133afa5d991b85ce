"""The socket that the service listens on, from its first client to its last."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from vaewatch.scoring.errors import SettingError
from vaewatch.service.settings import Settings
from vaewatch.service.watch.stderr import lines

BACKLOG = 2048
NOTIFY_SECONDS = 1.0
ANSWER_SECONDS = 1.0
SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; Python has no name for it
# For the kernel's packet filter, <linux/filter.h>: a packet without ACK opens a connection.
LINE = struct.Struct("HBBI")
NO_NEW_CONNECTIONS = b"".join(
    LINE.pack(*line)
    for line in (
        (0x30, 0, 0, 13),  # load byte 13 of the TCP header, the flags
        (0x45, 0, 1, 0x10),  # is ACK set? if not, skip one line
        (0x06, 0, 0, 0xFFFFFFFF),  # let it in
        (0x06, 0, 0, 0),  # drop it
    )
)


@dataclass(frozen=True)
class Listener:
    """A listening socket, and the address that clients use.

    inode: of the file of a Unix socket; None for TCP.
    """

    sock: socket.socket
    address: str
    inode: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether all clients are on this machine: none is half-open for long."""
        return self.inode is not None or ip_address(self.sock.getsockname()[0]).is_loopback

    def admit_no_more(self) -> None:
        """Have the kernel refuse every client that is not yet connected.

        Closing the socket would reset clients that the kernel has let in and the service has not
        accepted yet. A client that meets the filter is refused instead, over TCP when it tries
        again a second later, and so knows that its request was not read. Only Linux has such a
        filter; elsewhere nothing happens.
        """
        if self.inode is not None:
            _unlink(Path(self.sock.getsockname()), self.inode)
        elif sys.platform == "linux":
            program = ctypes.create_string_buffer(NO_NEW_CONNECTIONS, len(NO_NEW_CONNECTIONS))
            lines = len(NO_NEW_CONNECTIONS) // LINE.size
            filters = struct.pack("HP", lines, ctypes.addressof(program))
            with suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)


def listen(settings: Settings) -> Listener:
    """Listen where the settings say; port 0 picks a free one."""
    try:
        if settings.uds is not None:
            return _listen_uds(settings.uds)
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        address = (settings.host, settings.port)
        server = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        where = settings.uds or f"port {settings.port} of {settings.host}"
        raise SettingError(
            f"{where} must be free to listen on: {error.strerror}. "
            "Choose another one; --port 0 picks a free port."
        ) from error
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Listener(server, f"{scheme}://{host}:{server.getsockname()[1]}")


def _listen_uds(path: Path) -> Listener:
    if path.is_socket():
        if _is_answered(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()  # left by a process that was killed
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    os.chmod(path, 0o660)
    server.listen(BACKLOG)
    return Listener(server, f"unix:{path}", path.stat().st_ino)


def _is_answered(path: Path) -> bool:
    """Return whether a process listens on a Unix socket, also one that accepts nobody now."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.connect(str(path))
        except (BlockingIOError, TimeoutError):
            return True  # as many wait as it lets in
        except ConnectionRefusedError:
            return False
    return True


def _unlink(path: Path, inode: int) -> None:
    """Remove the file of a Unix socket, unless a later service has put its own there."""
    with suppress(OSError):
        if path.stat().st_ino == inode:
            path.unlink()


def announce(address: str) -> None:
    """Print the line that people and scripts wait for."""
    lines.write(f"listening on {address}\n")


def notify(state: str) -> None:
    """Report a state, such as `READY=1`, to systemd, if it has started the service and waits.

    https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.settimeout(NOTIFY_SECONDS)
            to.connect("\0" + address[1:] if address.startswith("@") else address)
            to.send(state.encode())
