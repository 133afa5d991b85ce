"""The service's lines on stderr, against a real one."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.live import serving
from vaewatch.service.model.model import load_model
from vaewatch.service.score.engine import Engine
from vaewatch.service.score.options import Options
from vaewatch.service.settings import Settings

ADMIN = "a key that is long enough"


@pytest.fixture
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_what_machines_poll_is_logged_only_at_debug_level_or_when_refused(
    artifact_path: Path, records: list[dict[str, Any]], level: str
):
    polled = ["/console/state", "/livez", "/metrics", "/readyz", "/v2/health/ready"]
    key = {"x-api-key": ADMIN}
    with serving(artifact_path, "--log-level", level, env={"VAEWATCH_KEY": ADMIN}) as live:
        assert {live.get(path, headers=key).status_code for path in polled} == {200}
        assert live.get("/console/state", headers={"x-api-key": "wrong"}).status_code == 401
        assert live.post("/v1/score", json={"records": records[:1]}, headers=key).is_success
        live.stop()
    lines = [json.loads(line) for line in live.lines if not line.startswith("listening")]
    logged = {(r["route"], r["status"]) for r in lines if r["logger"] == "vaewatch.access"}
    served = {("/v1/score", 200), ("unmatched", 401)} if level != "error" else set()
    assert logged == served | {(path, 200) for path in polled if level == "debug"}


def test_logs_are_json_and_hold_no_value(artifact_path: Path, records: list[dict[str, Any]]):
    with serving(artifact_path) as live:
        live.post("/v1/score", json={"records": [{**records[0], "country": "SECRET"}]})
        live.post("/v1/score", json={"records": [{**records[0], "amount": "SECRET"}]})
        live.post("/v1/score?alpha=SECRET", json={"records": records[:1]})
        live.get("/SECRET/path")
        metrics = live.get("/metrics").text
        live.stop()
    lines = [json.loads(line) for line in live.lines if not line.startswith("listening")]
    requests = [line for line in lines if line["logger"] == "vaewatch.access"]
    assert [r["status"] for r in requests if r["route"] == "/v1/score"] == [200, 422, 400]
    assert "unmatched" in {r["route"] for r in requests}
    assert "SECRET" not in live.said + metrics


def test_a_batch_that_is_answered_but_not_counted_is_logged(
    artifact_path: Path, records: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
):
    def fail(*batch: Any) -> None:
        raise OSError("no space left")

    model = load_model(artifact_path, Settings(artifact_path))
    rows = model.reader.rows(json.dumps({"records": records[:2]}).encode())
    assert rows is not None
    with caplog.at_level(logging.ERROR):
        results = asyncio.run(Engine(fail).score_rows(model, Options(), "abc", rows))
    assert len(results) == 2
    assert [record.message for record in caplog.records] == [
        "a batch was answered but not counted"
    ]
