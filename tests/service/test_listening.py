"""The socket that the service listens on, at its end."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from vaewatch.scoring.errors import SettingError
from vaewatch.service.http.listening import listen
from vaewatch.service.settings import Settings


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the filter")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_those_let_in_are_served_and_others_are_not_let_in(host: str):
    try:
        listener = listen(Settings(Path("artifact"), host=host, port=0))
    except SettingError:
        pytest.skip(f"this machine has no {host}")
    server = listener.sock
    where = server.getsockname()[:2]
    with server, socket.create_connection(where, timeout=5) as early:
        listener.admit_no_more()
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


def test_the_file_of_a_uds_goes_unless_a_later_service_has_put_its_own_there(tmp_path: Path):
    settings = Settings(Path("artifact"), uds=tmp_path / "socket")
    earlier = listen(settings)
    (tmp_path / "socket").unlink()
    later = listen(settings)
    with earlier.sock, later.sock, socket.socket(socket.AF_UNIX) as client:
        earlier.admit_no_more()
        client.connect(str(settings.uds))
        later.sock.settimeout(5)
        later.sock.accept()[0].close()
        later.admit_no_more()
    assert list(tmp_path.iterdir()) == []


def test_a_uds_is_taken_from_a_killed_service_alone(tmp_path: Path):
    settings = Settings(Path("artifact"), uds=tmp_path / "socket")
    earlier = listen(settings)
    with pytest.raises(SettingError, match="socket must be free to listen on: Address already"):
        listen(settings)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(settings.uds))  # it still hears its clients
    earlier.sock.close()
    listen(settings).sock.close()
