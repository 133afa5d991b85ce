"""address, body -> Answer. One POST: it follows no redirect, asks no proxy and ends in time.

In the clear it goes to machines of the own network alone, whatever a name resolves to.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from threading import Event, Timer

from vaewatch.service.notify.address import Address

CONNECT_SECONDS = 5.0
SECONDS = 15.0  # of all, as Standard Webhooks recommends
MOST_WORDS = 120  # characters of an answer that a log line has
LATE = "no answer in time"
LONGEST_WAIT = 3600.0  # seconds that a receiver may ask for


class Unreachable(Exception):
    """No answer came. The text says why, without the path of the address."""


@dataclass(frozen=True)
class Answer:
    """What a receiver answered. wait: seconds that it asks for, 0 if it does not.

    words: the beginning of its body, on one line.
    """

    status: int
    wait: float = 0.0
    words: str = ""

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether this very message is what it does not want; another one it may take."""
        return 300 <= self.status < 500 and self.status not in (408, 425, 429)

    def __str__(self) -> str:
        return f"{self.status}, {self.words}" if self.words else str(self.status)


def post(address: Address, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send a body, and return what was answered.

    Raises:
        Unreachable: nothing was, or not in time.
    """
    connection = _connection(address)
    cut = Event()
    timer = Timer(SECONDS, _cut, [connection, cut])
    timer.daemon = True
    timer.start()
    try:
        connection.connect()
        _require_near(address, connection.sock)
        connection.sock.settimeout(SECONDS)
        connection.request("POST", address.target, body, _all(address, headers))
        answer = connection.getresponse()
        if cut.is_set():  # the head may look complete all the same
            raise TimeoutError
        words = b"" if answer.status < 300 else answer.read(4 * MOST_WORDS)
        return Answer(answer.status, _seconds(answer.getheader("retry-after")), _line(words))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(LATE if cut.is_set() else _why(error)) from error
    finally:
        timer.cancel()
        connection.close()


def _connection(address: Address) -> http.client.HTTPConnection:
    if not address.secure:
        return http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_SECONDS)
    context = ssl.create_default_context()  # SSL_CERT_FILE names others than the system's
    return http.client.HTTPSConnection(
        address.host, address.port, timeout=CONNECT_SECONDS, context=context
    )


def _cut(connection: http.client.HTTPConnection, cut: Event) -> None:
    """End a connection whose other side sends a byte now and then, which no timeout ends."""
    cut.set()
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _require_near(address: Address, sock: socket.socket) -> None:
    if address.secure:
        return
    peer = ipaddress.ip_address(str(sock.getpeername()[0]).partition("%")[0])
    if isinstance(peer, ipaddress.IPv6Address):
        peer = peer.ipv4_mapped or peer
    if peer.is_global:
        raise ConnectionRefusedError(0, "beyond private networks it must be https")


def _all(address: Address, headers: Mapping[str, str]) -> dict[str, str]:
    found = {
        "content-type": "application/json",
        "user-agent": f"vaewatch/{version('vaewatch')}",
        "connection": "close",
        **headers,
    }
    if address.authorization is not None:
        found["authorization"] = address.authorization
    return found


def _seconds(retry_after: str | None) -> float:
    """Return the seconds to wait, within reason; a date is left to the sender's own patience."""
    if retry_after is None or not retry_after.isdecimal():
        return 0.0
    return min(float(retry_after), LONGEST_WAIT)


def _line(content: bytes) -> str:
    text = content.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MOST_WORDS]


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return LATE
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
