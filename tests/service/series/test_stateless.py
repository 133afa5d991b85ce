"""A request is a history of its own, and answered as `Scorer.score` does."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.live import Live, serving
from tests.pumps import Records, W
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.client import Client, ServiceError


@pytest.fixture(scope="module")
def live(series_path: Path) -> Iterator[Live]:
    with serving(series_path, "--workers", "2") as running:  # stateless is then the default
        yield running


def results(live: Live, records: Any, query: str = "") -> list[dict[str, Any]]:
    answer = live.post(f"/v1/score{query}", json={"records": records})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def assert_like(found: list[dict[str, Any]], verdicts: Verdicts) -> None:
    assert len(found) == len(verdicts)
    for result, verdict in zip(found, verdicts, strict=True):
        assert result["history"] == verdict.history
        if math.isnan(verdict.score):
            assert [result[n] for n in ("score", "p_value", "severity", "is_anomaly")] == [
                None
            ] * 4
            assert result["reasons"] == []
        else:
            assert result["score"] == pytest.approx(verdict.score, rel=1e-5, abs=1e-5)
            assert result["p_value"] == pytest.approx(verdict.p_value)
            assert result["is_anomaly"] is verdict.is_anomaly
            assert [r["column"] for r in result["reasons"]] == [r.column for r in verdict.reasons]


def test_a_verdict_for_each_record_with_a_full_window(
    live: Live, series_scorer: Scorer, records: Records
):
    found = results(live, records)
    assert_like(found, series_scorer.score(records))
    assert [result["history"] for result in found[: 3 * (W - 1)]] == ["warming_up"] * 21
    alarm = found[-1]
    assert alarm["is_anomaly"] and alarm["reasons"][0]["column"] == "pressure"
    assert alarm["reasons"][0]["ago"] == 0


def test_requests_that_share_a_batch_do_not_see_each_other(
    live: Live, series_scorer: Scorer, records: Records
):
    own = [records[start::3] for start in range(3)]
    asked = [rows[at : at + 12] for at in range(0, 18) for rows in own]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda rows: results(live, rows), asked))
    for rows, got in zip(asked, found, strict=True):
        assert_like(got, series_scorer.score(rows))


def test_judge_last_answers_the_newest_of_each_entity(
    live: Live, series_scorer: Scorer, records: Records
):
    found = results(live, records, "?judge=last")
    assert_like(found[-3:], series_scorer.score(records)[-3:])
    assert {result["history"] for result in found[:-3]} == {"context"}
    assert {result["score"] for result in found[:-3]} == {None}


def test_judge_last_of_too_few_records_warms_up_and_late_ones_stay_late(
    live: Live, records: Records
):
    rows = [*records[0:12:3], records[3], records[0]]
    words = [result["history"] for result in results(live, rows, "?judge=last")]
    assert words == ["context"] * 3 + ["warming_up", "late", "late"]


def test_judge_takes_all_and_last(live: Live, records: Records):
    for query, status in (("?judge=all", 200), ("?judge=first", 400), ("?judge=", 400)):
        answer = live.post(f"/v1/score{query}", json={"records": records[:1]})
        assert answer.status_code == status, query


def test_judge_last_takes_a_window(artifact_path: Path, mixed_frame: pl.DataFrame):
    with serving(artifact_path, "--history", "memory") as live:
        body = {"records": mixed_frame[:2].to_dicts()}
        answer = live.post("/v1/score?judge=last", json=body)
        assert answer.status_code == 400 and "takes an artifact with a window" in answer.text
        assert "history" not in live.post("/v1/score", json=body).json()["results"][0]
        assert "history" not in live.get("/v1/model").json()
        assert "histories" not in live.said


@pytest.mark.parametrize("media", ["application/x-ndjson", "text/csv"])
def test_other_bodies_are_answered_in_kind(
    live: Live, series_scorer: Scorer, records: Records, media: str
):
    frame = pl.DataFrame(records)
    body = frame.write_ndjson() if media.endswith("ndjson") else frame.write_csv()
    answer = live.post("/v1/score?explain=2", content=body, headers={"content-type": media})
    assert answer.status_code == 200, answer.text
    want = series_scorer.score(records)
    if media == "text/csv":
        rows = pl.read_csv(io.StringIO(answer.text))
        assert rows["history"].to_list() == want.history
        scores = rows["anomaly_score"].to_list()
        assert rows["is_anomaly"][0] is None and rows["score_kl"][0] is None
    else:
        lines = [json.loads(line) for line in answer.text.splitlines()]
        scores = [line["score"] for line in lines]
        assert lines[0]["parts"] is None and lines[-1]["parts"]["kl"] >= 0
    got = np.array(scores, np.float64)
    np.testing.assert_allclose(got, want.score, rtol=1e-5, atol=1e-5)


def test_a_bad_record_stays_out_of_the_history(
    live: Live, series_scorer: Scorer, records: Records
):
    rows = [{**row} for row in records[::3]]
    bad = {**rows[5], "pressure": "high"}
    found = results(live, [*rows[:5], bad, *rows[6:]], "?on_error=null")
    assert "errors" in found[5]
    assert_like(found[:5] + found[6:], series_scorer.score(rows[:5] + rows[6:]))


def test_the_open_inference_protocol_carries_the_history(
    live: Live, series_scorer: Scorer, records: Records
):
    name = live.get("/v1/model").json()["name"]
    kinds = {t["name"]: t["datatype"] for t in live.get(f"/v2/models/{name}").json()["inputs"]}
    inputs = [
        {"name": n, "datatype": kinds[n], "shape": [len(records)], "data": [r[n] for r in records]}
        for n in records[0]
    ]
    answer = live.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    want = series_scorer.score(records)
    assert got["history"] == want.history
    np.testing.assert_allclose(np.array(got["score"], float), want.score, rtol=1e-5, atol=1e-5)
    assert got["is_anomaly"] == want.is_anomaly.tolist()


def test_tensors_ask_for_the_newest_records_as_v1_does(live: Live, records: Records):
    name = live.get("/v1/model").json()["name"]
    kinds = {t["name"]: t["datatype"] for t in live.get(f"/v2/models/{name}").json()["inputs"]}
    inputs = [
        {"name": n, "datatype": kinds[n], "shape": [len(records)], "data": [r[n] for r in records]}
        for n in records[0]
    ]
    body = {"inputs": inputs, "parameters": {"judge": "last", "triton_enable_all": True}}
    answer = live.post(f"/v2/models/{name}/infer", json=body)
    assert answer.status_code == 200, answer.text
    got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    want = results(live, records, "?judge=last")
    for output in ("history", "score", "p_value", "severity"):
        assert got[output] == [result[output] for result in want]
    assert got["is_anomaly"] == [bool(result["is_anomaly"]) for result in want]
    for wrong in ("first", 1, ["last"], {}):
        answer = live.post(
            f"/v2/models/{name}/infer", json={**body, "parameters": {"judge": wrong}}
        )
        assert answer.status_code == 400 and "judge must be all or last" in answer.text


def test_binary_tensors_have_nan_where_there_is_no_score(live: Live, records: Records):
    name = live.get("/v1/model").json()["name"]
    row = records[0]
    kinds = {t["name"]: t["datatype"] for t in live.get(f"/v2/models/{name}").json()["inputs"]}
    inputs = [{"name": n, "datatype": kinds[n], "shape": [1], "data": [row[n]]} for n in row]
    outputs = [{"name": "score", "parameters": {"binary_data": True}}]
    body = {"inputs": inputs, "outputs": outputs}
    answer = live.post(f"/v2/models/{name}/infer", json=body)
    assert np.isnan(np.frombuffer(answer.content[-8:], "<f8")[0])


def test_the_client_gives_what_the_scorer_gives(
    live: Live, series_scorer: Scorer, records: Records
):
    with Client(live.url) as client:
        found = client.score(records, explain=2)
        last = client.score(records, judge="last")
    for got, want in zip(found, series_scorer.score(records, explain=2), strict=True):
        assert (got.history, got.is_anomaly) == (want.history, want.is_anomaly)
        assert got.score == pytest.approx(want.score, rel=1e-5, abs=1e-5, nan_ok=True)
        assert list(map(str, got.reasons)) == list(map(str, want.reasons))
    assert [verdict.history for verdict in last[-4:]] == ["context", "full", "full", "full"]


def test_the_client_does_not_part_what_judge_last_takes_together(live: Live, records: Records):
    with Client(live.url, chunk=50) as client:
        with pytest.raises(ServiceError, match=r"must fit one chunk of 50, got 90"):
            client.score(records, judge="last")


def test_records_that_are_not_judged_are_no_verdicts(live: Live, records: Records):
    words = ("full", "warming_up", "context")

    def counted() -> list[float]:
        by_word = [live.value("vaewatch_history_records_total", history=word) for word in words]
        names = ("records_total", "alarms_expected_total", "score_count", "severity_count")
        return [*by_word, *(live.value(f"vaewatch_{name}") for name in names)]

    results(live, records[:1])
    time.sleep(2)  # in which the workers publish what they have counted
    before = counted()
    results(live, records)
    results(live, records, "?judge=last")
    time.sleep(2)
    after = counted()
    full, warming, context, judged, expected, scores, severities = np.subtract(after, before)
    assert (full, warming, context) == (69 + 3, 21, 87)
    assert judged == scores == severities == 72
    assert 0 < expected <= 72 * 0.06


def test_the_card_shows_the_window(live: Live, series_scorer: Scorer):
    card = live.get("/v1/model").json()
    assert card["window"]["size"] == W and card["history"] == {"kept": "stateless"}
    assert results(live, [card["example"]])[0]["history"] == "warming_up"
    document = live.get("/openapi.json").json()
    names = [p["name"] for p in document["paths"]["/v1/score"]["post"]["parameters"]]
    assert "judge" in names
    assert "history" in document["components"]["schemas"]["Result"]["properties"]
