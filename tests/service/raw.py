"""Bytes on a socket: what HTTP clients do not let one send."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.live import Live


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        assert found["request_id"] == self.headers["x-request-id"]
        return found


@contextmanager
def connected(live: Live, timeout: float = 20) -> Iterator[socket.socket]:
    port = int(live.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        yield client


def received(client: socket.socket) -> bytes:
    """Everything until the service closes the connection."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def answers_in(data: bytes, methods: str = "") -> list[Answer]:
    """Split what was received; `methods` are those of the requests, as `HEAD` has no body."""
    found, asked = [], methods.split()
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        status = int(lines[0].split()[1])
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "a header came twice"
        if status == 100:
            continue
        bare = len(found) < len(asked) and asked[len(found)] == "HEAD"
        length = 0 if bare else int(headers["content-length"])
        found.append(Answer(status, headers, data[:length]))
        assert len(data) >= length
        data = data[length:]
    return found


def ask(live: Live, *parts: bytes, shut: bool = True, pause: float = 0.0) -> list[Answer]:
    """Send bytes, in parts, shut down the sending side, and read to the end."""
    methods = " ".join(re.findall(r"(?m)^([A-Z]+) \S+ HTTP/1", b"".join(parts).decode("latin1")))
    with connected(live) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        if shut:
            client.shutdown(socket.SHUT_WR)
        return answers_in(received(client), methods)


def post(path: str, body: bytes, *headers: str, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    lines += [f"content-length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return data + b"0\r\n" + trailers + b"\r\n"
