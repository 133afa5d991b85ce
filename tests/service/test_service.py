"""The service as a client meets it: a real process on a port."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from tests.conftest import run
from tests.live import Live, serving
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.settings import Settings

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as running:
        yield running


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


def score(live: Live, records: list[Any], query: str = "") -> httpx.Response:
    return live.post(f"/v1/score{query}", json={"records": records})


def strange(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "currency": "XXX", "amount": 1e6, "country": "ZZ"}


def test_a_posted_record_scores_like_the_library(
    live: Live, records: list[dict[str, Any]], scorer: Scorer
):
    answer = score(live, records[:50])
    assert answer.status_code == 200
    got = answer.json()
    assert got["model"] == {"name": "shop", "version": scorer.artifact.version, "alpha": 0.05}
    expected = scorer.score_records(records[:50])
    np.testing.assert_allclose([r["score"] for r in got["results"]], expected.score, rtol=1e-5)
    assert [r["p_value"] for r in got["results"]] == expected.p_value.tolist()
    assert [r["is_anomaly"] for r in got["results"]] == expected.is_anomaly.tolist()


def test_an_anomaly_says_which_columns_caused_it(live: Live, records: list[dict[str, Any]]):
    (result,) = score(live, [strange(records[0])]).json()["results"]
    assert result["is_anomaly"] is True
    assert set(result) == {"score", "p_value", "severity", "is_anomaly", "reasons"}
    for reason in result["reasons"]:
        assert set(reason) == {"column", "observed", "expected", "contribution"}
    assert {"amount", "country", "currency"} & {r["column"] for r in result["reasons"]}


def test_probes_card_and_documents(live: Live, scorer: Scorer):
    assert live.get("/livez").json() == {"status": "live"}
    assert live.get("/readyz").json()["status"] == "ready"
    card = live.get("/v1/model").json()
    assert card["version"] == scorer.artifact.version
    assert [c["name"] for c in card["schema"]["columns"]] == list(scorer.artifact.schema.names)
    assert score(live, [card["example"]]).status_code == 200
    assert "/v1/score" in live.get("/openapi.json").json()["paths"]
    assert "swagger" in live.get("/docs").text.lower()
    assert live.get("/").json()["docs"] == "/docs"


BROKEN: list[tuple[str, bytes, int, str]] = [
    ("not JSON", b"hello", 400, "must be JSON"),
    ("empty", b"", 400, "the body must be JSON, got nothing: send {"),
    ("blank", b" \n", 400, "the body must be JSON, got nothing: send {"),
    ("not UTF-8", b'{"records": [{"amount": "\xff"}]}', 400, "must be JSON"),
    ("a number", b"7", 400, "or an array of records, got a number"),
    ("an array of numbers", b"[1, 2]", 422, "a record must be an object"),
    ("an array of nothing", b"[]", 400, "at least one record"),
    ("no records", b'{"rows": []}', 400, "got an object without it but with 'rows'"),
    ("another name", b'{"rows": [{"items": 1}]}', 400, "an object without it but with 'rows'"),
    ("columns", b'{"amount": {"0": 1}, "items": {"0": 2}}', 400, "to_json(orient='records')"),
    ("lists of columns", b'{"amount": [1, 2]}', 400, "got columns; pandas writes records with"),
    ("records is a number", b'{"records": 3}', 400, "got 'records' as a number"),
    ("an empty list", b'{"records": []}', 400, "at least one record"),
    ("a NaN token", b'{"records": [{"amount": NaN}]}', 400, "must be JSON"),
    ("an infinite number", b'{"records": [{"amount": Infinity}]}', 400, "must be JSON"),
    ("10 MB of brackets", b"[" * 10_000_000, 400, "nested too deep"),
    ("a nested value", b'{"records": [{"amount": {"a": 1}}]}', 422, "got an object"),
    ("a record that is no object", b'{"records": [7]}', 422, "a record must be an object"),
    ("a record with no columns", b'{"records": [{}]}', 422, "must be there"),
    ("a text for a number", b'{"records": [{"amount": "secret"}]}', 422, "must be a number"),
    ("a number out of range", b'{"records": [{"amount": 1e400}]}', 400, "must be JSON"),
]


@pytest.mark.parametrize(("what", "body", "status", "text"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_body_is_a_problem(live: Live, what: str, body: bytes, status: int, text: str):
    answer = live.post("/v1/score", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"] == problem["error"]
    assert text in answer.text
    assert problem["status"] == status
    assert b"secret" not in answer.content


def test_each_broken_rule_is_named(live: Live, records: list[dict[str, Any]]):
    bad = [records[0], {**records[1], "amount": "x"}, {**records[2], "express": "maybe"}]
    errors = score(live, bad).json()["errors"]
    assert [(e["record"], e["column"], e["code"]) for e in errors] == [
        (1, "amount", "type"),
        (2, "express", "type"),
    ]


def test_a_misspelt_column_is_named(live: Live, records: list[dict[str, Any]]):
    misspelt = {"amuont" if name == "amount" else name: v for name, v in records[0].items()}
    answer = score(live, [records[1], misspelt])
    rule = (
        "column 'amount' must be there, but there is only 'amuont'; send null if its value is "
        "not known"
    )
    assert answer.status_code == 422 and answer.json()["detail"] == f"{rule} (record 1)."
    (error,) = answer.json()["errors"]
    assert (error["record"], error["column"], error["message"]) == (1, "amount", rule)


def test_unknown_routes_and_methods_are_problems(live: Live):
    assert live.get("/v1/score").status_code == 405
    refused = live.post("/livez")
    assert refused.status_code == 405
    assert refused.json()["detail"] == "the method must be GET, HEAD here, got 'POST'."
    assert live.get("/nowhere").json()["status"] == 404


def test_metrics_count_records_and_requests(artifact_path: Path, records: list[dict[str, Any]]):
    with serving(artifact_path) as live:
        score(live, records[:20])
        score(live, [strange(records[0])])
        score(live, [{}, {}])
        live.get("/made/up/path")
        assert live.value("vaewatch_records_total") == 23
        assert live.value("vaewatch_records_total", verdict="anomaly") >= 1
        assert live.value("vaewatch_records_total", verdict="rejected") == 2
        assert live.value("vaewatch_severity_count") == 21
        assert live.value("vaewatch_severity_bucket", le="+Inf") == 21
        counted = live.value(
            "vaewatch_request_duration_seconds_count", route="/v1/score", code="200"
        )
        assert counted == 2
        assert live.value("vaewatch_request_duration_seconds_count", route="unmatched") == 1
        assert live.value("vaewatch_model_info", name="shop") == 1


def test_counters_stand_at_zero_before_anything_happens(artifact_path: Path, scorer: Scorer):
    with serving(artifact_path) as live:
        series = live.series()
        shop = tuple(sorted({"model": "shop", "version": scorer.artifact.version}.items()))
        assert series["vaewatch_alarms_total", shop] == 0
        assert series["vaewatch_alarms_expected_total", shop] == 0
        assert series["vaewatch_reloads_total", (("result", "refused"),)] == 0
        assert series["vaewatch_column_unknown_total", (("column", "country"),)] == 0
        assert live.value("vaewatch_records_total") == 0


def test_the_budget_is_counted_at_the_artifacts_alpha(
    artifact_path: Path, records: list[dict[str, Any]], scorer: Scorer
):
    with serving(artifact_path) as live:
        live.post("/v1/score?alpha=0.5", json={"records": records})
        p_values = scorer.score_records(records).p_value
        assert live.value("vaewatch_records_total", verdict="anomaly") == (p_values <= 0.5).sum()
        assert live.value("vaewatch_alarms_total") == (p_values <= 0.05).sum()
        expected = len(records) * scorer.artifact.calibration.rate_law().mean
        assert live.value("vaewatch_alarms_expected_total") == pytest.approx(expected)
        assert live.value("vaewatch_alpha") == 0.05
        low, high = scorer.artifact.manifest.calibration.rate_interval_95
        assert live.value("vaewatch_alpha_lower") == pytest.approx(low)
        assert live.value("vaewatch_alpha_upper") == pytest.approx(high)
        created = datetime.fromisoformat(scorer.artifact.manifest.created_at).timestamp()
        assert live.value("vaewatch_model_created_timestamp_seconds") == created


def test_sigterm_ends_with_exit_code_zero(artifact_path: Path):
    with serving(artifact_path, "--drain-seconds", str(Settings.drain_seconds)) as live:
        assert live.stop() == 0


def test_a_bad_artifact_is_exit_code_four(tmp_path: Path):
    done = run("serve", tmp_path / "none", "--port", "0")
    assert done.returncode == 4
    assert done.stderr.startswith("error: ") and "is not an artifact" in done.stderr


def test_a_taken_port_is_reported_in_one_sentence(live: Live, artifact_path: Path):
    port = live.url.rsplit(":", 1)[1]
    done = run("serve", artifact_path, "--port", port)
    assert done.returncode == 2
    assert "must be free" in done.stderr


def test_a_value_far_out_is_explained_with_finite_numbers(
    live: Live, records: list[dict[str, Any]]
):
    """The network's guess of a count goes through exp, and may leave what a float holds."""
    far = [
        {**r, "amount": sign * 10.0**k} for r in records[:5] for k in (6, 30) for sign in (-1, 1)
    ]
    answer = score(live, far, "?explain=100")
    assert answer.status_code == 200
    reasons = [reason for result in answer.json()["results"] for reason in result["reasons"]]
    assert all(reason["expected"] is not None for reason in reasons if reason["column"] == "items")


def test_json_body_of_numbers_as_texts_is_not_guessed(live: Live, records: list[dict[str, Any]]):
    body = json.dumps({"records": [{**records[0], "amount": "12.5"}]})
    assert live.post("/v1/score", content=body, headers=JSON).status_code == 422


def raw(live: Live, head: bytes, body: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """The status line, headers and body that one request over a connection of its own gets; the
    service closes it.
    """
    port = int(live.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    first, rest = answer.split(b"\r\n", 1)
    lines, body = rest.split(b"\r\n\r\n", 1)
    pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n")]
    assert len({name for name, _ in pairs}) == len(pairs)
    return first, {name: value for name, value in pairs}, body


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/score HTTP/1.0\r\n",
        b"POST /v1/score HTTP/1.1\r\nhost: x\r\nconnection: close\r\n",
    ],
)
def test_an_answer_is_whole_and_its_connection_closed_for_who_wants_that(
    live: Live, records: list[dict[str, Any]], head: bytes
):
    asked = json.dumps({"records": records[:2]}).encode()
    first, headers, body = raw(live, head, asked)
    assert first == b"HTTP/1.1 200 OK"
    assert len(json.loads(body)["results"]) == 2
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers[b"connection"] == b"close"
    assert {b"date", b"content-type", b"x-model-version", b"x-request-id"} <= headers.keys()


def test_a_version_of_two_lines_is_refused_before_it_makes_a_header(
    artifact_path: Path, tmp_path: Path
):
    shutil.copytree(artifact_path, tmp_path / "shop")
    manifest = json.loads((artifact_path / "manifest.json").read_text())
    manifest["version"] = "1\r\nset-cookie: a=b"
    (tmp_path / "shop" / "manifest.json").write_text(json.dumps(manifest))
    words = [sys.executable, "-m", "vaewatch", "serve", str(tmp_path / "shop"), "--port", "0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "key 'version', must have at most 1,000 characters and no control" in done.stderr
