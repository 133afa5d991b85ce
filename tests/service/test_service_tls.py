"""TLS with a real certificate, made for the test."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.conftest import make_frame, run
from tests.live import Live, serving, until
from tests.service.raw import connected, post


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_https_is_spoken_and_http_is_not(
    artifact_path: Path, mixed_frame: pl.DataFrame, pem: tuple[Path, Path], workers: str
):
    cert, key = pem
    trust = ssl.create_default_context(cafile=str(cert))
    options = ("--tls-cert", str(cert), "--tls-key", str(key), "--workers", workers)
    with serving(artifact_path, *options, trust=trust) as live:
        assert live.url.startswith("https://127.0.0.1:")
        records = mixed_frame.drop("order").head(5).to_dicts()
        answer = live.post("/v1/score", json={"records": records})
        assert (answer.status_code, len(answer.json()["results"])) == (200, 5)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(live.url + "/livez")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(live.url.replace("https", "http") + "/livez")
        assert live.stop() == 0


def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(
    artifact_path: Path, pem: tuple[Path, Path]
):
    cert, _ = pem
    done = run("serve", artifact_path, "--port", "0", "--tls-cert", cert, "--tls-key", cert)
    assert done.returncode == 2
    assert "--tls-cert and --tls-key must be" in done.stderr
    done = run("serve", artifact_path, "--port", "0", "--tls-key", cert)
    assert done.returncode == 2
    assert "--tls-cert must be given with --tls-key" in done.stderr


MOST = 8
REFUSED = "vaewatch_connections_refused_total"
PROBES = ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
BODY = json.dumps({"records": make_frame(3).drop("order").to_dicts()}).encode()


@contextmanager
def few(artifact: Path, pem: tuple[Path, Path], *options: str) -> Iterator[Live]:
    """A service that takes few connections over TLS."""
    cert, key = pem
    trust = ssl.create_default_context(cafile=str(cert))
    limits = ("--max-connections", str(MOST), *options)
    given = ("--tls-cert", str(cert), "--tls-key", str(key), *limits)
    with serving(artifact, *given, trust=trust) as live:
        yield live


@contextmanager
def crowd(live: Live, n: int, sent: bytes, agreed: bool) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(live)) for _ in range(n)]
        if agreed:
            assert isinstance(live.trust, ssl.SSLContext)
            for i, client in enumerate(clients):
                with suppress(OSError):  # the service may have closed it
                    clients[i] = live.trust.wrap_socket(client, server_hostname="127.0.0.1")
                    stack.callback(clients[i].close)
        for client in clients:
            with suppress(OSError):
                client.sendall(sent)
        yield clients


@pytest.mark.parametrize(
    ("workers", "agreed"), [("1", True), ("1", False), ("2", False)], ids=["agreed", "1", "2"]
)
def test_idle_connections_over_tls_keep_nobody_out(
    artifact_path: Path, pem: tuple[Path, Path], workers: str, agreed: bool
):
    with few(artifact_path, pem, "--workers", workers) as live:
        with crowd(live, 100, b"", agreed):
            assert [live.get(path).status_code for path in PROBES] == [200] * len(PROBES)
            assert live.post("/v1/score", content=BODY).status_code == 200
            assert live.value("vaewatch_connections") <= MOST * int(workers)
            assert live.value(REFUSED) >= 100 - MOST * int(workers)
        until(lambda: live.value("vaewatch_connections") <= int(workers))


def test_requests_under_way_over_tls_let_probes_through(
    artifact_path: Path, pem: tuple[Path, Path]
):
    with few(artifact_path, pem, "--body-timeout", "20") as live:
        part = post("/v1/score", BODY)[:-10]
        with ExitStack() as stack:

            def full() -> bool:
                """One client more, as one that has not sent yet may make way for the next."""
                if live.value("vaewatch_requests_in_progress") > MOST:  # the scrape is one
                    return True
                stack.enter_context(crowd(live, 1, part, agreed=True))
                return False

            until(full)
            with crowd(live, 150, part, agreed=True):
                for path in PROBES * 3:
                    assert live.get(path).status_code == 200
                assert live.post("/v1/score", content=BODY).status_code == 429
                assert live.value("vaewatch_connections") <= MOST + 65
        until(lambda: live.post("/v1/score", content=BODY).status_code == 200)


def test_clients_that_do_not_agree_to_the_end_do_not_hold_it_up(
    artifact_path: Path, pem: tuple[Path, Path]
):
    get = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    with few(artifact_path, pem) as live, crowd(live, 3, get, agreed=True):
        assert live.stop() == 0


@pytest.mark.parametrize("sent", [b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02"])
def test_who_does_not_agree_on_tls_is_closed_in_time(
    artifact_path: Path, pem: tuple[Path, Path], sent: bytes
):
    with few(artifact_path, pem, "--body-timeout", "1") as live:
        with connected(live, timeout=10) as client:
            client.sendall(sent)
            with suppress(ConnectionResetError):
                while client.recv(1000):
                    pass
        until(lambda: live.value("vaewatch_connections") == 1)
        with connected(live):
            assert live.stop() == 0  # nor does it hold up the end
        assert '"level":"error"' not in live.said and "Traceback" not in live.said
