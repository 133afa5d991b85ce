"""`vaewatch.Client` against a real service, and against one that is busy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import astuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import vaewatch
from tests.live import Live, serving, until
from tests.service.incidents.conftest import odd_records
from vaewatch.scoring.errors import RecordError
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.client import ServiceError
from vaewatch.service.client import client as module

KEY = "a key that is long enough"


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, env={"VAEWATCH_KEY": KEY}) as running:
        yield running


@pytest.mark.parametrize("kind", ["records", "polars", "pandas"])
def test_a_client_scores_like_the_library(
    live: Live, mixed_frame: pl.DataFrame, scorer: Scorer, kind: str
):
    frame = mixed_frame.head(50)
    data: Any = frame.to_dicts() if kind == "records" else frame
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        data = pandas.DataFrame(frame.to_dict(as_series=False))
    with vaewatch.Client(live.url, KEY, chunk=20) as client:
        verdicts = client.score(data, explain=1)
    expected = scorer.score_records(frame.to_dicts(), explain=1)
    np.testing.assert_allclose([v.score for v in verdicts], expected.score, rtol=1e-5)
    assert [v.reasons[0].column for v in verdicts if v.reasons] == [
        reasons[0].column for reasons in expected.reasons if reasons
    ]
    assert [v.id for v in verdicts] == frame["order"].to_list()
    assert expected.parts is not None
    for verdict, parts in zip(verdicts, expected.parts, strict=True):
        assert verdict.parts is not None
        assert astuple(verdict.parts) == pytest.approx(astuple(parts), rel=1e-4, abs=1e-6)


def test_a_record_without_an_id_has_none(live: Live, mixed_frame: pl.DataFrame):
    with_id, without = mixed_frame.head(1), mixed_frame.drop("order").head(1)
    records = [*without.to_dicts(), *with_id.to_dicts(), {**without.to_dicts()[0], "order": None}]
    with vaewatch.Client(live.url, KEY) as client:
        verdicts = client.score(records)
    assert [v.id for v in verdicts] == [None, with_id["order"][0], None]
    assert [v.parts for v in verdicts] == [None] * 3


def test_errors_name_the_record_in_the_whole(live: Live, mixed_frame: pl.DataFrame):
    records = mixed_frame.drop("order").head(30).to_dicts()
    records[25]["amount"] = "x"
    with vaewatch.Client(live.url, KEY, chunk=10) as client:
        with pytest.raises(RecordError) as caught:
            client.score(records)
        assert caught.value.problems[0].record == 25
        assert client.model()["name"] == "shop"


def test_incidents_are_listed_fetched_and_marked(live: Live, artifact_path: Path):
    odd = pl.DataFrame(odd_records(6)).drop("order")
    with vaewatch.Client(live.url, KEY) as client:
        client.score(odd)
        until(lambda: bool(client.incidents(state="open", muted=False)))
        one = client.incidents()[0]
        assert client.incident(one["id"])["group"] == one["group"]
        assert client.incidents(label="confirmed") == []
        mark = client.mark("confirmed", incident=one["id"], reason="real")
        assert (mark["label"], mark["reason"], mark["kind"]) == ("confirmed", "real", "all")
        again = client.mark("confirmed", incident=one["id"], reason="real", id=mark["id"])
        assert again == mark
        for i in range(3):
            client.mark("false_alarm", record=f"o{i}")
        assert len(client.feedback()) == 4
        assert [each["record"] for each in client.feedback(2, label="false_alarm")] == ["o0", "o1"]
        assert client.feedback_summary()["all"]["confirmed"] == 1
        with pytest.raises(ServiceError, match="no incident of this id"):
            client.incident("000000000000")


def test_pages_are_fetched_one_after_another(live: Live, monkeypatch: pytest.MonkeyPatch):
    with vaewatch.Client(live.url, KEY) as client:
        for i in range(5):
            client.mark("confirmed", record=f"page{i}")
        monkeypatch.setattr(module, "MOST_OF_PAGE", 2)
        found = [each["record"] for each in client.feedback(label="confirmed")]
        assert [name for name in found if name and name.startswith("page")] == [
            f"page{i}" for i in range(5)
        ]


def test_a_wrong_key_and_a_wrong_url_are_reported(live: Live):
    with vaewatch.Client(live.url, KEY + "x") as client, pytest.raises(ServiceError, match="key"):
        client.model()
    with pytest.raises(ServiceError, match="must be http"):
        vaewatch.Client("localhost:80")
    away = vaewatch.Client("http://127.0.0.1:1", retries=1)
    with pytest.raises(ServiceError, match="must be reachable"):
        away.model()


class Busy(BaseHTTPRequestHandler):
    statuses = [429, 503, 200]

    def do_GET(self) -> None:
        body = b'{"name": "shop", "detail": "busy"}'
        self.send_response(self.statuses.pop(0))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_a_busy_service_is_asked_again():
    server = HTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with vaewatch.Client(f"http://127.0.0.1:{server.server_port}") as client:
            assert client.model()["name"] == "shop"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Cut(BaseHTTPRequestHandler):
    """Takes a request, and goes without an answer."""

    paths: list[str] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.paths.append(self.path)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_a_proposal_whose_answer_is_lost_is_not_asked_for_again():
    server = HTTPServer(("127.0.0.1", 0), Cut)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with vaewatch.Client(f"http://127.0.0.1:{server.server_port}") as client:
            with pytest.raises(ServiceError, match=r"answer was lost: .* See recalibrations\(\)"):
                client.recalibrate(last="1h")
        assert Cut.paths == ["/v1/recalibrate"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Collector(BaseHTTPRequestHandler):
    paths: list[str] = []
    bodies: list[bytes] = []

    def do_POST(self) -> None:
        self.paths.append(self.path)
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_traces_go_to_a_collector(artifact_path: Path, mixed_frame: pl.DataFrame):
    pytest.importorskip("opentelemetry.instrumentation.asgi")
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    try:
        with serving(artifact_path, "--otel", env=env) as traced:
            with vaewatch.Client(traced.url) as client:
                client.score(mixed_frame.drop("order").head(2))
            assert traced.stop() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "/v1/traces" in Collector.paths
    assert any(b"/v1/score" in body for body in Collector.bodies)


class Odd(BaseHTTPRequestHandler):
    """Answers as proxies do: a date for Retry-After, then something that is no object."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        status, body = (503, b"<html>") if self.asked == 1 else (200, b"[]")
        self.send_response(status)
        self.send_header("retry-after", "Sat, 28 Nov 2026 10:00:00 GMT")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


def test_answers_of_a_proxy_are_errors_in_words():
    server = HTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with vaewatch.Client(f"http://127.0.0.1:{server.server_port}") as client:
            with pytest.raises(ServiceError, match="answered 200 and no JSON object"):
                client.model()
    finally:
        server.shutdown()
        server.server_close()
    assert Odd.asked == 2


@pytest.mark.parametrize("key", ["", " \n", "two\nlines", "schlüssel", "nul\0"])
def test_a_key_that_no_header_can_hold_is_refused(key: str):
    with pytest.raises(ServiceError, match="one line of printable ASCII"):
        vaewatch.Client("http://127.0.0.1:1", key=key)


class Other(BaseHTTPRequestHandler):
    """Another program, which answers JSON of its own."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, _, body = self.path[1:].partition("/v1/score")[0].partition("_")
        self.send_response(int(status))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "{}", "not with verdicts. Is the url that of vaewatch"),
        (200, '{"results":5}', "not with verdicts"),
        (200, '{"results":[{"score":1}]}', "not with verdicts"),
        (400, '{"errors":"no"}', "the service answered 400"),
        (400, '{"errors":[{"m":1}],"detail":"why"}', "why"),
        (403, '{"errors":null}', "the service answered 403"),
    ],
)
def test_answers_of_another_program_are_errors_in_words(status: int, body: str, message: str):
    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{status}_{body}"
    try:
        with vaewatch.Client(url, retries=0) as client:
            with pytest.raises(ServiceError, match=message) as caught:
                client.score([{"amount": 1}])
        assert caught.value.status == status
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("http://127.0.0.1:port", {}, "url must be http://HOST:PORT"),
        ("http://127.0.0.1:99999", {}, "url must be"),
        ("http://[::1", {}, "url must be"),
        ("127.0.0.1:8000", {}, "url must be"),
        (None, {}, "url must be"),
        ("http://127.0.0.1:1", {"chunk": 0}, "chunk must be at least 1"),
        ("http://127.0.0.1:1", {"chunk": -1}, "chunk must be at least 1"),
        ("http://127.0.0.1:1", {"retries": -1}, "retries at least 0"),
        ("http://127.0.0.1:1", {"timeout": 0}, "timeout above 0"),
    ],
)
def test_a_client_that_cannot_work_is_refused(url: Any, settings: dict[str, Any], message: str):
    with pytest.raises(ServiceError, match=message):
        vaewatch.Client(url, **settings)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"amount": 1}, {"amount": float("inf")}], "finite number, got infinity .record 1"),
        ([{"x": {"y": [float("-inf")]}}], "'x' must be a finite number, got infinity .record 0"),
        (np.zeros((2, 3)), "must be an object of column: value, got a ndarray .record 0"),
        ([None], "must be an object of column: value, got a NoneType"),
    ],
)
def test_what_no_body_can_hold_names_its_record(records: Any, message: str):
    with vaewatch.Client("http://127.0.0.1:1") as client:
        with pytest.raises(RecordError, match=message):
            client.score(records)


def test_frames_that_cannot_be_records_are_refused():
    pandas = pytest.importorskip("pandas")
    with vaewatch.Client("http://127.0.0.1:1") as client:
        with pytest.raises(ServiceError, match="column 'a' must be in the DataFrame once"):
            client.score(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
        with pytest.raises(ServiceError, match="a list of records or a DataFrame, got a int"):
            client.score(5)


def test_values_of_python_score_as_their_json(live: Live, mixed_frame: pl.DataFrame):
    (record,) = mixed_frame.head(1).to_dicts()
    odd = {**record, "amount": np.float32(record["amount"]), "age": float("nan")}
    odd |= {"items": np.array(record["items"]), "express": np.bool_(record["express"])}
    with vaewatch.Client(live.url, KEY) as client:
        lazy = client.score(mixed_frame.head(1).lazy())
        (want,) = client.score([record])
        (got,) = client.score([{**odd, "age": record["age"]}])
        (missing,) = client.score([odd])
        (none,) = client.score([{**record, "age": None}])
    assert lazy == [want]
    assert got.score == pytest.approx(want.score, rel=1e-4)
    assert missing.score == pytest.approx(none.score, rel=1e-4) != want.score
