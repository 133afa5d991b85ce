"""Records with a time, over HTTP in every media type and over V2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL
from tests.live import Live, serving
from tests.training.test_time import make_orders
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.client import Client
from vaewatch.training.train import train

ZONE = "Europe/Amsterdam"


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("service-time") / "timed"
    settings: dict[str, Any] = {**SMALL, "alpha": 0.05, "id": "order", "time": "created_at"}
    train(make_orders(600), path, time_zone=ZONE, report=False, **settings)
    return path


@pytest.fixture(scope="module")
def live(timed: Path) -> Iterator[Live]:
    with serving(timed) as running:
        yield running


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return make_orders(40, seed=3).to_dicts()


def post(live: Live, content: bytes, kind: str) -> httpx.Response:
    return live.post("/v1/score", content=content, headers={"content-type": kind})


def test_every_media_type_gives_the_scores_of_python(
    live: Live, timed: Path, records: list[dict[str, Any]]
):
    wanted = Scorer.load(timed).score(records)
    frame = pl.DataFrame(records)
    answer = post(live, json.dumps({"records": records}).encode(), "application/json").json()
    scores = {"json": [result["score"] for result in answer["results"]]}
    lines = post(live, frame.write_ndjson().encode(), "application/x-ndjson").text
    scores["ndjson"] = [json.loads(line)["score"] for line in lines.splitlines()]
    csv = post(live, frame.write_csv().encode(), "text/csv").content
    scores["csv"] = pl.read_csv(csv)["anomaly_score"].to_list()
    for kind, found in scores.items():
        np.testing.assert_allclose(found, wanted.score, rtol=1e-5, err_msg=kind)


def test_v2_takes_the_time_as_a_tensor(live: Live, timed: Path, records: list[dict[str, Any]]):
    metadata = live.get("/v2/models/timed").json()
    types = {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]}
    assert types["created_at"] == "BYTES" and "created_at.hour" not in types
    inputs = [
        {"name": n, "datatype": t, "shape": [len(records)], "data": [r[n] for r in records]}
        for n, t in types.items()
    ]
    answer = live.post("/v2/models/timed/infer", json={"inputs": inputs}).json()
    scores = next(out["data"] for out in answer["outputs"] if out["name"] == "score")
    np.testing.assert_allclose(scores, Scorer.load(timed).score(records).score, rtol=1e-5)


def test_a_bad_time_is_named_and_the_others_are_scored(live: Live, records: list[dict[str, Any]]):
    bad = [records[0], {**records[1], "created_at": "soon"}, {**records[2], "created_at": None}]
    body = json.dumps({"records": bad}).encode()
    answer = post(live, body, "application/json")
    assert answer.status_code == 422
    errors = {error["record"]: error for error in answer.json()["errors"]}
    assert set(errors) == {1, 2} and errors[1]["column"] == "created_at"
    assert "must be a time as in the fit data, ISO 8601 with an offset" in errors[1]["message"]
    assert "soon" not in answer.text
    kept = live.post("/v1/score?on_error=null", content=body).json()["results"]
    assert "score" in kept[0] and "errors" in kept[1] and "errors" in kept[2]


def test_the_card_has_an_example_that_can_be_scored(live: Live):
    card = live.get("/v1/model").json()
    assert "created_at" in card["example"] and "created_at.hour" not in card["example"]
    assert card["schema"]["time"]["zone"] == ZONE
    answer = live.post("/v1/score", json={"records": [card["example"]]})
    assert answer.status_code == 200, answer.text


def test_reasons_of_the_calendar_have_words(live: Live, records: list[dict[str, Any]]):
    odd = [{**r, "created_at": "2025-02-02T02:10:00Z"} for r in records if r["amount"] > 100]
    answer = live.post("/v1/score?explain=5", json={"records": odd}).json()
    found = [
        reason
        for result in answer["results"]
        for reason in result["reasons"]
        if reason["column"] == "created_at.hour"
    ]
    assert found and "at 03:10 on a Sunday" in found[0]["words"]  # in Amsterdam
    assert found[0]["observed"] == 3.17


def test_the_metrics_and_the_console_have_the_calendar(live: Live):
    metrics = live.get("/metrics").text
    assert 'column="created_at.hour"' in metrics and 'column="created_at"' not in metrics


def test_the_client_gives_the_verdicts_of_python(live: Live, timed: Path):
    odd = [{**r, "created_at": "2025-02-02T02:10:00Z"} for r in make_orders(20, 3).to_dicts()]
    with Client(live.url) as client:
        found = client.score(odd, explain=5)
    wanted = Scorer.load(timed).score(odd, explain=5)
    assert [list(map(str, v.reasons)) for v in found] == [
        list(map(str, v.reasons)) for v in wanted
    ]


@pytest.mark.parametrize(("form", "datatype"), [("years", "FP64"), ("%m/%d/%Y %H:%M", "BYTES")])
def test_times_as_they_are_written_are_served_so(tmp_path: Path, form: str, datatype: str):
    frame = make_orders(400).drop("order")
    at = frame["created_at"].str.to_datetime(time_zone="UTC")
    if form == "years":
        written = 2025 + (at.dt.epoch("s") - 1735689600) / (365 * 86_400)
    else:
        written = at.dt.strftime(form)
    frame = frame.with_columns(created_at=written)
    train(frame, tmp_path / "it", alpha=0.05, time="created_at", report=False, **SMALL)
    some = frame.head(20).to_dicts()
    wanted = Scorer.load(tmp_path / "it").score(some).score
    with serving(tmp_path / "it") as service:
        answer = service.post("/v1/score", json={"records": some}).json()
        np.testing.assert_allclose([r["score"] for r in answer["results"]], wanted, rtol=1e-5)
        csv = post(service, frame.head(20).write_csv().encode(), "text/csv").content
        np.testing.assert_allclose(pl.read_csv(csv)["anomaly_score"], wanted, rtol=1e-5)
        types = {i["name"]: i["datatype"] for i in service.get("/v2/models/it").json()["inputs"]}
        assert types["created_at"] == datatype
        inputs = [
            {"name": name, "datatype": kind, "shape": [20], "data": [r[name] for r in some]}
            for name, kind in types.items()
        ]
        outputs = service.post("/v2/models/it/infer", json={"inputs": inputs}).json()["outputs"]
        (scores,) = (output["data"] for output in outputs if output["name"] == "score")
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
