"""More connections than the service may have, against a real one."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import VAEWATCH, make_frame
from tests.live import Live, serving, until
from tests.service.raw import answers_in, ask, connected, post, received

MOST = 8
BODY = json.dumps({"records": make_frame(3).drop("order").to_dicts()}).encode()
PROBES = ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
REFUSED = "vaewatch_connections_refused_total"


@pytest.fixture
def live(artifact_path: Path) -> Iterator[Live]:
    options = ("--max-connections", str(MOST), "--body-timeout", "20")
    with serving(artifact_path, *options) as running:
        yield running


@contextmanager
def many(live: Live, n: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(live)) for _ in range(n)]
        for client in clients:
            with suppress(OSError):  # it may be closed already
                client.sendall(sent)
        yield clients


def read_answer(client: socket.socket) -> None:
    data = b""
    while not data.endswith(b'{"status":"live"}'):
        data += client.recv(4096)


def files_of(live: Live) -> int:
    return len(os.listdir(f"/proc/{live.process.pid}/fd"))


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTT", GET], ids=["nothing", "part", "served"])
def test_idle_connections_keep_nobody_out(live: Live, sent: bytes):
    before = files_of(live)
    with many(live, 100, sent):
        for path in (*PROBES, "/v1/model"):
            assert live.get(path).status_code == 200
        assert live.post("/v1/score", content=BODY).status_code == 200
        assert live.value("vaewatch_connections") <= MOST
        assert files_of(live) <= before + MOST + 1
        assert live.value(REFUSED) >= 100 - MOST
    until(lambda: live.value("vaewatch_connections") == 1)  # the scrape's own
    assert live.value(REFUSED) < 130


def test_the_longest_idle_connection_makes_room(live: Live):
    with many(live, MOST) as clients:
        for client in clients:
            client.sendall(GET)
            read_answer(client)
            time.sleep(0.01)
        for _ in range(3):
            assert [a.status for a in ask(live, GET)] == [200]
        closed = []
        for i, client in enumerate(clients):
            client.settimeout(0.2)
            with suppress(TimeoutError):
                if client.recv(1) == b"":
                    closed.append(i)
        assert closed and closed == list(range(len(closed)))


def test_requests_under_way_are_not_closed_and_probes_get_through(live: Live):
    sent = post("/v1/score", BODY)
    with many(live, MOST, sent[:-10]) as clients:
        for path in PROBES:
            assert live.get(path).status_code == 200
        (answer,) = ask(live, sent)
        assert answer.status == 429 and answer.headers["connection"] == "close"
        assert f"at most {MOST} connections" in answer.problem["detail"]
        (answer,) = ask(live, b"GET /v1/model HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.status == 429
        assert live.value(REFUSED) >= len(PROBES) + 2
        with many(live, 200):  # nor do the others who wait keep probes out
            assert [live.get(path).status_code for path in PROBES] == [200] * len(PROBES)
            assert live.value("vaewatch_connections") <= MOST + 65
        for client in clients:
            client.sendall(sent[-10:])
            client.shutdown(socket.SHUT_WR)
            assert [a.status for a in answers_in(received(client))] == [200]
    assert live.post("/v1/score", content=BODY).status_code == 200


def test_the_limit_is_lowered_to_the_files_that_may_be_open(artifact_path: Path, tmp_path: Path):
    command = tmp_path / "vaewatch"
    command.write_text(f'#!/bin/sh\nulimit -n 300\nexec {VAEWATCH} "$@"\n')
    command.chmod(0o755)
    with serving(artifact_path, vaewatch=command) as live:
        found = re.search(r"--max-connections is (\d+): 300 open files are allowed", live.said)
        assert found is not None and 0 < int(found[1]) < 300
        with many(live, 290):
            assert [live.get(path).status_code for path in PROBES] == [200] * len(PROBES)
            assert live.post("/v1/score", content=BODY).status_code == 200
        assert "Too many open files" not in live.said
