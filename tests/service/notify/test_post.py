"""One POST to a real receiver: what it follows, whom it asks, and when it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver import Receiver
from vaewatch.service.notify import post as posting
from vaewatch.service.notify.address import Address
from vaewatch.service.notify.post import Answer, Unreachable, post


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


def address_of(receiver: Receiver) -> Address:
    return Address.of(receiver.url)


def test_a_body_arrives_with_its_headers(receiver: Receiver):
    url = receiver.url.replace("//", "//ann:secret@") + "?team=a"
    answer = post(Address.of(url), b"{}", {"webhook-id": "msg_a_1"})
    assert answer == Answer(200) and answer.taken
    (got,) = receiver.got
    assert (got.path, got.body) == ("/hook", b"{}")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == "msg_a_1"
    assert got.headers["authorization"] == "Basic YW5uOnNlY3JldA=="
    assert got.headers["user-agent"].startswith("vaewatch/")


def test_a_redirect_is_not_followed(receiver: Receiver):
    receiver.status, receiver.headers = 307, {"location": receiver.url}
    answer = post(address_of(receiver), b"{}", {})
    assert answer.status == 307 and not answer.taken and answer.refused
    assert len(receiver.got) == 1


def test_no_proxy_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    with Receiver().running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert post(address_of(receiver), b"{}", {}).taken
        assert not proxy.got


@pytest.mark.parametrize(("status", "refused"), [(400, True), (404, True), (429, False)])
def test_an_answer_says_whether_the_message_itself_is_refused(
    receiver: Receiver, status: int, refused: bool
):
    receiver.status, receiver.content = status, b"invalid_\x00blocks\n" * 100
    receiver.headers = {"retry-after": "7"}
    answer = post(address_of(receiver), b"{}", {})
    assert (answer.refused, answer.wait) == (refused, 7.0)
    assert answer.words.startswith("invalid_ blocks invalid_") and len(answer.words) == 120


@pytest.mark.parametrize(
    ("header", "seconds"), [("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("999999999", 3600.0)]
)
def test_a_wait_is_within_reason(receiver: Receiver, header: str, seconds: float):
    receiver.status, receiver.headers = 503, {"retry-after": header}
    assert post(address_of(receiver), b"{}", {}).wait == seconds


def test_a_receiver_that_is_not_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/secret"
        with pytest.raises(Unreachable, match="Connection refused") as caught:
            post(Address.of(url), b"{}", {})
    assert "secret" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_unreachable():
    with pytest.raises(Unreachable):
        post(Address.of("http://nobody.invalid/secret"), b"{}", {})


def test_what_does_not_speak_http_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_say, args=(server, b"SSH-2.0-none\r\n"), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(Unreachable, match="BadStatusLine"):
            post(Address.of(url), b"{}", {})
        thread.join(5)


def test_a_receiver_that_sends_a_byte_now_and_then_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(posting, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_drip, args=(server,), daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match="no answer in time"):
            post(Address.of(f"http://127.0.0.1:{server.getsockname()[1]}/"), b"{}", {})
        thread.join(5)


def test_a_certificate_must_be_trusted(pem: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    cert, key = pem
    with Receiver().running(ssl_certfile=cert, ssl_keyfile=key) as receiver:
        address = Address.of(receiver.url.replace("http:", "https:"))
        with pytest.raises(Unreachable, match="its certificate is not trusted, self-signed"):
            post(address, b"{}", {})
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert post(address, b"{}", {}).taken
        assert len(receiver.got) == 1


class Far(socket.socket):
    """A socket whose other side is somewhere else."""

    def __init__(self, peer: str) -> None:
        super().__init__(socket.AF_INET6 if ":" in peer else socket.AF_INET)
        self.peer = peer

    def getpeername(self) -> tuple[str, int]:
        return self.peer, 80


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.16.0.9", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("fe80::1%2", True),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2606:4700::1111", False),
    ],
)
def test_plain_http_stays_in_the_own_network(peer: str, allowed: bool):
    with Far(peer) as sock:
        posting._require_near(Address.of("https://pager.example/"), sock)
        if allowed:
            posting._require_near(Address.of("http://pager.example/"), sock)
        else:
            with pytest.raises(OSError, match="beyond private networks it must be https"):
                posting._require_near(Address.of("http://pager.example/"), sock)


def _say(server: socket.socket, words: bytes) -> None:
    with server.accept()[0] as connection:
        connection.recv(1000)
        connection.sendall(words)


def _drip(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        for _ in range(100):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.1)
