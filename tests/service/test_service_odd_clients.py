"""Clients that are hostile or unlucky, over raw sockets, against a real service."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import make_frame
from tests.live import Live, serving
from tests.service.raw import answers_in, ask, chunked, connected, post, received

KEY = "a key of the tests"
RECORDS = make_frame(3).drop("order").to_dicts()
BODY = json.dumps({"records": RECORDS}).encode()
CHUNKED = "transfer-encoding: chunked"
UNMATCHED = {"route": "unmatched", "method": "other"}
COUNT = "vaewatch_request_duration_seconds_count"


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--body-timeout", "2") as running:
        yield running


@pytest.fixture(scope="module")
def keyed(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, env={"VAEWATCH_KEY": KEY}) as running:
        yield running


# heads


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 12_000 + b"\r\n",
        b"GET /livez?" + b"a" * 66_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /" + b"a" * 400_000,
        b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"n" * 400_000,
    ],
    ids=["value", "many", "query", "path", "name"],
)
def test_a_head_above_64_kib_is_refused_while_it_comes(live: Live, head: bytes):
    before = live.value(COUNT, code="431", **UNMATCHED)
    (answer,) = ask(live, head, shut=False)
    assert answer.status == 431 and answer.headers["connection"] == "close"
    assert "65,536 bytes" in answer.problem["detail"]
    assert live.value(COUNT, code="431", **UNMATCHED) == before + 1


def test_a_head_below_64_kib_is_answered(live: Live):
    head = b"GET /livez HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 65_000 + b"\r\n\r\n"
    assert [a.status for a in ask(live, head)] == [200]
    assert [a.status for a in ask(live, head[:100], head[100:], pause=0.1)] == [200]
    assert [a.status for a in ask(live, head * 3)] == [200] * 3


def test_trailers_count_as_headers(live: Live):
    trailers = b"t: " + b"a" * 40_000 + b"\r\n"
    small, large = ("h: " + "a" * size for size in (10, 40_000))
    for header, status in ((small, 200), (large, 431)):
        head = post("/v1/score", b"", CHUNKED, header, length=False)
        (answer,) = ask(live, head + chunked(BODY, trailers=trailers))
        assert answer.status == status


def test_sizes_of_chunks_without_end_are_refused(live: Live):
    head = post("/v1/score", b"", CHUNKED, length=False)
    for endless in (
        b"1;" + b"e" * 100_000,
        b"0" * 100_000 + b"1\r\nx\r\n",
        b"1\r\nx\r\n" * 50_000,
    ):
        (answer,) = ask(live, head + endless, shut=False)
        assert answer.status in (400, 431) and answer.problem


def test_bodies_of_many_small_chunks_are_read(live: Live):
    body = BODY + b" " * 100_000
    pieces = [body[at : at + 40] for at in range(0, len(body), 40)]
    head = post("/v1/score", b"", CHUNKED, length=False)
    assert [a.status for a in ask(live, head + chunked(*pieces))] == [200]


def test_a_head_must_arrive_in_time(live: Live):
    with connected(live) as slow, connected(live) as silent:
        slow.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n")
        started = time.monotonic()
        while time.monotonic() - started < 10:
            try:
                slow.sendall(b"a: b\r\n")
            except OSError:
                break
            time.sleep(0.3)
            if len(slow.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) if readable(slow) else b""):
                break
        (answer,) = answers_in(received(slow))
        assert answer.status == 408
        assert "a head must arrive within 2 seconds." in answer.problem["detail"]
        silent.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")  # it may think for longer
        assert silent.recv(12) == b"HTTP/1.1 200"


def readable(client: socket.socket) -> bool:
    import select

    return bool(select.select([client], [], [], 0)[0])


# requests that proxies and services may read differently


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", "name its host once"),
        (b"GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "one header 'host'"),
        (b"GET /livez\r\n\r\n", "name its host once"),
        (b"nonsense\r\n\r\n", "must be HTTP/1.1: "),
        (b"\x16\x03\x01\x02\x00\x01\x00", "must be HTTP/1.1: invalid method"),
        (b"GET /livez HTTP/1.1\nhost: x\n\n", "must be HTTP/1.1: expected CRLF"),
        (b"GET /livez HTTP/1.1\r\nhost : x\r\n\r\n", "must be HTTP/1.1: invalid header token"),
        (b"GET /livez HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", "must be HTTP/1.1: "),
        (b"GET /livez HTTP/0.9\r\nhost: x\r\n\r\n", "must be HTTP/1.1 or 1.0"),
        (post("/v1/score", BODY).replace(b"1.1", b"2.0", 1), "must be HTTP/1.1 or 1.0"),
        (b"GET http://x HTTP/1.1\r\nhost: x\r\n\r\n", "must be a path"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "must be HTTP/1.1: "),
        (post("/v1/score", BODY, CHUNKED), "must be HTTP/1.1: Content-Length"),
        (post("/v1/score", BODY, "content-length: 3"), "must be HTTP/1.1: duplicate"),
        (post("/v1/score", BODY, "content-length: +3", length=False), "invalid character in"),
        (post("/v1/score", b"zz\r\n", CHUNKED, length=False), "invalid character in chunk size"),
        (post("/v1/score", b"3\r\nabcd", CHUNKED, length=False), "must be HTTP/1.1: "),
        (
            post("/v1/score", chunked(BODY), "transfer-encoding: gzip, chunked", length=False),
            "must be chunked",
        ),
        (
            post("/v1/score", chunked(BODY), CHUNKED, length=False).replace(b"1.1", b"1.0", 1),
            "must be chunked",
        ),
        (
            post("/v1/score", chunked(BODY), "transfer-encoding: gzip", CHUNKED, length=False),
            "one header 'transfer-encoding'",
        ),
        (post("/v1/score", BODY, "content-type: text/csv", "content-type: a"), "one header"),
        (b"GET /livez HTTP/1.1\r\nhost: x\r\n", "must be whole"),
        (post("/v1/score", BODY)[:-5], "must be whole"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_an_id(live: Live, sent: bytes, text: str):
    before = live.value(COUNT, code="400")
    (answer,) = ask(live, sent)
    assert answer.status == 400
    assert text in answer.problem["detail"], answer.problem["detail"]
    assert live.value(COUNT, code="400") == before + 1


def test_http_1_0_needs_no_host(live: Live):
    assert [a.status for a in ask(live, b"GET /livez HTTP/1.0\r\n\r\n")] == [200]


def test_a_client_of_http_1_0_is_not_told_to_continue(live: Live):
    sent = post("/v1/score", BODY, "expect: 100-continue").replace(b"1.1", b"1.0", 1)
    with connected(live) as client:
        client.sendall(sent[: -len(BODY)])
        time.sleep(0.2)
        client.sendall(BODY)
        assert received(client).startswith(b"HTTP/1.1 200 ")


def test_a_fault_is_answered_after_the_requests_before_it(live: Live):
    got = ask(live, post("/v1/score", BODY) + b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" + b"\0\0")
    assert [a.status for a in got] == [200, 200, 400]
    assert got[2].headers["connection"] == "close"


def test_pipelined_requests_are_answered_in_order_and_not_kept_without_end(live: Live):
    get = b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n"
    got = ask(live, get % b"livez" + post("/v1/score", BODY) + get % b"v2" + get % b"nowhere")
    assert [a.status for a in got] == [200, 200, 200, 404]
    got = ask(live, post("/v1/score", BODY) + get % b"livez" * 500)
    assert [a.status for a in got[:-1]] == [200] * (len(got) - 1) and 60 < len(got) < 80
    assert got[-1].status == 400 and "64 requests may wait" in got[-1].problem["detail"]


@pytest.mark.parametrize("to", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("head", [post("/v1/score", BODY), None], ids=["length", "chunks"])
def test_a_wish_for_another_protocol_is_ignored(live: Live, to: str, head: bytes | None):
    sent = head or post("/v1/score", chunked(BODY), CHUNKED, length=False)
    wish = f"host: x\r\nupgrade: {to}\r\nconnection: Upgrade, HTTP2-Settings\r\n".encode()
    sent = sent.replace(b"host: x\r\n", wish, 1)
    get = b"GET /livez HTTP/1.1\r\n" + wish + b"\r\n"
    got = ask(live, sent + get)
    assert [a.status for a in got] == [200, 200]
    assert len(json.loads(got[0].body)["results"]) == 3
    got = ask(live, *(sent[at : at + 30] for at in range(0, len(sent), 30)), pause=0.005)
    assert [a.status for a in got] == [200]


def test_connect_is_refused(live: Live):
    (answer,) = ask(live, b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert answer.status == 405 and answer.problem and "allow" in answer.headers


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "content-type"])
def test_trailers_are_dropped(keyed: Live, live: Live, name: str):
    value = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "content-type": "text/csv"}[name]
    head = post("/v1/score", b"", CHUNKED, length=False)
    sent = head + chunked(BODY, trailers=f"{name}: {value}\r\n".encode())
    assert [a.status for a in ask(keyed, sent)] == [401]
    assert [a.status for a in ask(keyed, sent[:-20], sent[-20:], pause=0.1)] == [401]
    assert [a.status for a in ask(live, sent)] == [200]


def test_a_key_may_come_once(keyed: Live):
    headers = f"authorization: Bearer {KEY}", "authorization: Bearer another"
    (answer,) = ask(keyed, post("/v1/score", BODY, *headers))
    assert answer.status == 400 and "one header 'authorization'" in answer.problem["detail"]


# methods


GETS = ("/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/model", "/v2")
GETS += ("/console/console.css", "/console/state", "/console/report", "/v2/health/ready")


@pytest.mark.parametrize("path", [*GETS, "/v2/models/shop", "/nowhere"])
def test_head_is_get_without_a_body(live: Live, path: str):
    get, head = (f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n" for method in ("GET", "HEAD"))
    first, second, third = ask(live, (get + head + get).encode())
    assert (second.status, second.body) == (first.status, b"")
    assert first.body and third.body
    if path not in ("/metrics", "/console/state", "/nowhere"):  # these differ each time
        assert second.headers["content-length"] == str(len(first.body))
    assert second.headers["content-type"] == first.headers["content-type"]
    if path in ("/livez", "/metrics", "/v1/model"):
        assert live.value(COUNT, method="HEAD", route=path) >= 1


def test_head_has_no_body_where_it_is_refused_either(keyed: Live, live: Live):
    head = b"HEAD /v1/%b HTTP/1.1\r\nhost: x\r\n\r\n"
    get = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    got = ask(keyed, head % b"model" + get + head % b"score" + get)
    assert [(a.status, bool(a.body)) for a in got] == [(401, False), (200, True)] * 2
    got = ask(live, head % b"score" + get + head % b"reload" + get)
    assert [(a.status, bool(a.body)) for a in got] == [(405, False), (200, True)] * 2


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/score", "POST"),
        ("GET", "/v1/score", "POST"),
        ("DELETE", "/v1/model", "GET, HEAD"),
        ("OPTIONS", "/livez", "GET, HEAD"),
        ("GET", "/v1/reload", "POST"),
        ("HEAD", "/v1/promote", "POST"),
        ("GET", "/v2/models/shop/infer", "POST"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
def test_another_method_is_refused_with_those_that_are_allowed(
    live: Live, method: str, path: str, allow: str
):
    answer = live.ask(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/v1/model/", "/docs/", "//evil.example/", "/livez//"])
def test_nothing_redirects(live: Live, path: str):
    (answer,) = ask(live, f"GET {path} HTTP/1.1\r\nhost: evil.example\r\n\r\n".encode())
    assert answer.status == 404 and "location" not in answer.headers
    assert b"evil" not in answer.body


# unlucky ones


def test_a_client_that_has_shut_down_its_side_is_answered(live: Live):
    assert [a.status for a in ask(live, post("/v1/score", BODY))] == [200]
    assert [a.status for a in ask(live, b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")] == [200]
    large = json.dumps({"records": RECORDS * 900}).encode()
    assert [a.status for a in ask(live, post("/v1/score", large))] == [200]
    assert ask(live, b"") == []


def test_a_refusal_is_read_by_a_client_that_is_still_sending(artifact_path: Path):
    with serving(artifact_path, "--max-body-bytes", "1000") as live:
        for _ in range(20):
            head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n"
            (answer,) = ask(live, head + b" " * 1_000_000, shut=False)
            assert answer.status == 413 and answer.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/nowhere", "/livez", "/v1/reload", "/v1/score"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_last_answer_is_read_by_a_client_that_is_still_sending(
    keyed: Live, path: str, version: str
):
    sent = post(path, b" " * 3_000_000, "connection: close", f"x-api-key: {KEY}")
    for _ in range(5):
        (answer,) = ask(keyed, sent.replace(b"1.1", version.encode(), 1), shut=False)
        assert answer.status == {"/nowhere": 404, "/livez": 405, "/v1/reload": 200}.get(path, 400)
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/score?alpha=x", 400), ("/v1/reload", 200), ("/nowhere", 404), ("/v1/model", 405)],
)
def test_after_an_answer_in_place_of_continue_nothing_is_taken_for_the_body(
    live: Live, path: str, status: int
):
    """The client may send the body that it has announced, or its next request."""
    for rest in (BODY, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"):
        head = post(path, BODY, "expect: 100-continue")[: -len(BODY)]
        (answer,) = ask(live, head, rest, shut=False, pause=0.2)
        assert answer.status == status and answer.headers["connection"] == "close"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json"])
def test_json_as_curl_sends_it(live: Live, kind: str):
    assert live.post("/v1/score", content=BODY, headers={"content-type": kind}).status_code == 200
    answer = live.post("/v1/score", content=b"a=b&c=d", headers={"content-type": kind})
    assert answer.status_code == 400 and "must be JSON" in answer.json()["detail"]


@pytest.mark.parametrize("media", ["application/json", "application/x-ndjson", "text/csv"])
def test_a_byte_order_mark_is_skipped(live: Live, media: str):
    frame = make_frame(2)
    body = {
        "application/json": BODY,
        "application/x-ndjson": frame.drop("order").write_ndjson().encode(),
        "text/csv": frame.write_csv().encode(),
    }[media]
    headers = {"content-type": media}
    answer = live.post("/v1/score", content=b"\xef\xbb\xbf" + body, headers=headers)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "-inf"])
def test_numbers_that_json_does_not_have_are_named(live: Live, word: str):
    for media, body in (
        ("application/json", f'{{"records": [{{"country": "NaN", "amount": {word}}}]}}'),
        ("application/x-ndjson", f'{{"amount": {word}}}'),
    ):
        answer = live.post("/v1/score", content=body, headers={"content-type": media})
        assert answer.status_code == 400
        assert "send null for a value that is missing" in answer.json()["detail"], answer.text


def test_unknown_members_of_the_body_are_named(live: Live):
    body = {"records": RECORDS, "alpha": 0.1, "explain": 3}
    answer = live.post("/v1/score", json=body)
    assert answer.status_code == 400
    assert "'alpha', 'explain'" in answer.json()["detail"], answer.text
    answer = live.post("/v1/score", json={"instances": RECORDS})
    assert "'instances'" in answer.json()["detail"], answer.text
    many = {f"m{i}\n": i for i in range(1000)} | {"records": RECORDS}
    detail = live.post("/v1/score", json=many).json()["detail"]
    assert len(detail) < 300 and "\n" not in detail


def test_gzip_bodies_may_have_several_members(live: Live):
    headers = {"content-encoding": "gzip"}
    half = len(BODY) // 2
    members = gzip.compress(BODY[:half]) + gzip.compress(b"") + gzip.compress(BODY[half:])
    for body in (members, members + b"\0" * 100):
        for name in ("gzip", "x-gzip", "GZIP"):
            named = {"content-encoding": name}
            assert live.post("/v1/score", content=body, headers=named).status_code == 200
    for body in (members[:-3], members + b"x", gzip.compress(b"") * 20_000):
        answer = live.post("/v1/score", content=body, headers=headers)
        assert answer.status_code == 400 and "gzip" in answer.json()["detail"]
    bomb = gzip.compress(b" " * 9_000_000) * 3
    assert live.post("/v1/score", content=bomb, headers=headers).status_code == 413
