"""The socket that the service listens on, at its end."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from service.listening import admit_no_more, listen
from service.settings import Settings


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the filter")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_those_let_in_are_served_and_others_are_not_let_in(host: str):
    server, _ = listen(Settings(Path("artifact"), host=host, port=0))
    where = server.getsockname()[:2]
    with server, socket.create_connection(where, timeout=5) as early:
        admit_no_more(server)
        early.sendall(b"ask")
        with pytest.raises(TimeoutError):
            socket.create_connection(where, timeout=0.3)
        server.settimeout(5)
        accepted, _ = server.accept()
        with accepted:
            assert accepted.recv(3) == b"ask"
            accepted.sendall(b"answer")
            assert early.recv(6) == b"answer"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)
