"""A service whose artifact has a segment: verdicts in every form, metrics, the console's table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, make_frame
from tests.live import Live, serving
from vaewatch.scoring.budget.segments import LONGEST_LABEL
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.service.client import Client
from vaewatch.training.train import train

SHOP = ("DE", "FR", "NL", "other")


@pytest.fixture(scope="module")
def live(segmented_path: Path) -> Iterator[Live]:
    with serving(segmented_path) as running:
        yield running


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    some = make_frame(3, seed=4).with_columns(country=pl.Series(["NL", "FR", "PT"])).to_dicts()
    return [*some, {**some[0], "country": None}]


SEGMENTS, CALIBRATIONS = ["NL", "FR", "other", None], ["own", "pooled", "pooled", "pooled"]


def test_json_and_lines_carry_segment_and_calibration(live: Live, rows: list[dict[str, Any]]):
    results = live.post("/v1/score", json={"records": rows}).json()["results"]
    assert [r["segment"] for r in results] == SEGMENTS
    assert [r["calibration"] for r in results] == CALIBRATIONS
    body = "\n".join(map(json.dumps, rows))
    head = {"content-type": "application/x-ndjson"}
    lines = live.post("/v1/score", content=body, headers=head).text.splitlines()
    assert [json.loads(line)["segment"] for line in lines] == SEGMENTS


def test_csv_carries_them_after_the_error(live: Live, rows: list[dict[str, Any]]):
    body = pl.DataFrame(rows).write_csv()
    head = {"content-type": "text/csv"}
    answer = pl.read_csv(live.post("/v1/score?explain=1", content=body, headers=head).content)
    assert answer.columns[-6:-3] == ["error", "segment", "calibration"]
    assert answer["segment"].to_list() == SEGMENTS
    assert answer["calibration"].to_list() == CALIBRATIONS
    bad = body.replace("NL", '"N', 1)
    assert live.post("/v1/score", content=bad, headers=head).status_code in (400, 422)


def test_a_bad_record_keeps_its_place_without_a_segment(live: Live, rows: list[dict[str, Any]]):
    broken = [{**rows[0], "amount": "much"}, *rows[1:]]
    body = pl.DataFrame(rows).with_columns(amount=pl.Series(["much", "1", "2", "3"])).write_csv()
    head = {"content-type": "text/csv"}
    answer = live.post("/v1/score?on_error=null", content=body, headers=head).content
    assert pl.read_csv(answer)["calibration"].to_list() == [None, *CALIBRATIONS[1:]]
    results = live.post("/v1/score?on_error=null", json={"records": broken}).json()["results"]
    assert "segment" not in results[0] and results[1]["segment"] == "FR"


def test_v2_has_two_more_outputs(live: Live, rows: list[dict[str, Any]]):
    model = live.get("/v1/model").json()["name"]
    outputs = live.get(f"/v2/models/{model}").json()["outputs"]
    assert [o["name"] for o in outputs][-2:] == ["segment", "calibration"]
    kinds = {"country": "BYTES", "express": "BOOL", "currency": "BYTES"}
    names = [name for name in rows[0] if name != "order"]
    inputs = [
        {
            "name": name,
            "datatype": kinds.get(name, "FP64"),
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name in names
    ]
    answer = live.post(f"/v2/models/{model}/infer", json={"inputs": inputs}).json()
    found = {o["name"]: o["data"] for o in answer["outputs"]}
    assert found["segment"] == ["NL", "FR", "other", ""]
    assert found["calibration"] == CALIBRATIONS


def test_the_client_and_the_documents_know_them(live: Live, rows: list[dict[str, Any]]):
    with Client(live.url) as client:
        verdicts = list(client.score(rows))
    assert [v.segment for v in verdicts] == SEGMENTS
    assert [v.calibration for v in verdicts] == CALIBRATIONS
    schemas = live.get("/openapi.json").json()["components"]["schemas"]
    assert {"segment", "calibration"} <= set(schemas["Result"]["properties"])
    card = live.get("/v1/model").json()
    assert card["schema"]["segment"] == "country"
    assert [s["segment"] for s in card["calibration"]["segments"]] == ["NL", "DE", "FR"]


def test_counters_have_the_segment_and_sum_to_what_they_counted(segmented_path: Path):
    scorer, frame = Scorer.load(segmented_path), make_frame(900, seed=8)
    frame = frame.with_columns(
        country=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit("PT")).otherwise("country")
    )
    records = [*frame.to_dicts(), {**frame.row(0, named=True), "country": None}]
    verdicts = scorer.score(records, explain=0)
    segments = scorer.artifact.segments
    assert segments is not None
    rates = dict(zip(segments.metric_labels, segments.expected_rates.tolist(), strict=True))
    codes = segments.codes(table_of(scorer.artifact.schema, records))
    with serving(segmented_path) as live:
        name = {"model": "by-country"}
        start = live.series()
        for segment in SHOP:  # every label is there from the start
            assert live.value("vaewatch_alarms_total", segment=segment, **name) == 0
        assert ("vaewatch_alarms_total", (("model", "by-country"),)) not in start
        for part in (records[:400], records[400:]):
            live.post("/v1/score", json={"records": part})
        live.post("/v1/score?on_error=null", json={"records": [{"order": "x"}]})
        shown = np.array([s or "other" for s in verdicts.segment or ()])
        for segment in SHOP:
            own, alarms = shown == segment, verdicts.is_anomaly
            counted = live.value("vaewatch_records_total", verdict="anomaly", segment=segment)
            assert counted == (own & alarms).sum()
            assert live.value("vaewatch_records_total", segment=segment) == own.sum()
            assert live.value("vaewatch_alarms_total", segment=segment) == (own & alarms).sum()
            explained = live.value("vaewatch_alarms_expected_total", segment=segment)
            assert explained == pytest.approx(own.sum() * rates[segment])
        total = live.value("vaewatch_alarms_expected_total")
        assert total == pytest.approx(segments.expected(segments.count(codes)).mean)
        assert live.value("vaewatch_records_total") == len(records) + 1
        labels = [dict(has) for (n, has) in live.series() if n == "vaewatch_records_total"]
        rejected = [has for has in labels if has["verdict"] == "rejected"]
        assert len(rejected) == 1 and "segment" not in rejected[0]
        assert {has["segment"] for has in labels if "segment" in has} == set(SHOP)
        upper = [dict(h) for (n, h) in live.series() if n == "vaewatch_segment_alpha_upper"]
        kinds = {has["segment"]: has["calibration"] for has in upper}
        assert kinds == {"NL": "own", "DE": "own", "FR": "pooled", "other": "pooled"}


def test_alarms_count_at_the_artifacts_alpha_by_each_own_calibration(segmented_path: Path):
    scorer, frame = Scorer.load(segmented_path), make_frame(300, seed=8)
    expected = scorer.score(frame, explain=0)
    with serving(segmented_path) as live:
        live.post("/v1/score?alpha=0.01", json={"records": frame.to_dicts()})
        for segment in ("NL", "DE", "FR"):
            own = np.array([s == segment for s in expected.segment or ()])
            counted = live.value("vaewatch_alarms_total", segment=segment)
            assert counted == (own & expected.is_anomaly).sum()


def test_an_artifact_without_a_segment_has_the_labels_that_it_had(artifact_path: Path):
    with serving(artifact_path) as live:
        live.post("/v1/score", json={"records": make_frame(20).to_dicts()})
        text = live.get("/metrics").text
        results = live.post("/v1/score", json={"records": make_frame(1).to_dicts()}).json()
    lines = [line for line in text.splitlines() if line.startswith("vaewatch_records_total{")]
    assert len(lines) == 3 and "segment" not in text
    assert list(results["results"][0]) == [
        *("score", "p_value", "severity", "is_anomaly", "reasons", "id")
    ]


def test_workers_sum_up_their_segments(segmented_path: Path):
    frame = make_frame(600, seed=8)
    with serving(segmented_path, "--workers", "2") as live:
        for start in range(0, 600, 50):
            live.post("/v1/score", json={"records": frame[start : start + 50].to_dicts()})
        nl = int((frame["country"] == "NL").sum())
        for _ in range(100):
            if live.value("vaewatch_records_total", segment="NL") == nl:
                break
        assert live.value("vaewatch_records_total", segment="NL") == nl
        state = live.get("/console/state").json()
    assert {each["segment"] for each in state["segments"]} == {"NL", "DE", "FR"}
    assert sum(each["records"] for each in state["segments"]) == state["budget"]["records"]


def test_a_loud_segment_is_the_consoles_headline(segmented_path: Path):
    """In NL, where nearly all orders are, all is well; in DE half are absurd."""
    place = pl.int_range(pl.len())
    frame = make_frame(4000, seed=8).with_columns(
        country=pl.when(place % 40 == 0).then(pl.lit("DE")).otherwise(pl.lit("NL")),
        amount=pl.when(place % 80 == 0).then(1e6).otherwise("amount"),
    )
    with serving(segmented_path) as live:
        for start in range(0, 4000, 400):
            live.post("/v1/score", json={"records": frame[start : start + 400].to_dicts()})
        state = live.get("/console/state").json()
    by_name = {each["segment"]: each for each in state["segments"]}
    assert by_name["NL"]["state"] == "within" and set(by_name) == {"NL", "DE"}
    assert by_name["DE"]["state"] == "above" and state["budget"]["state"] == "within"
    assert state["health"]["headline"] == "More alarms than promised in a segment"
    assert "'DE'" in state["health"]["text"]


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments that would break a line or fill a page."""
    frame = make_frame(800)
    names = {"NL": 'a\n"b\\\x1b[31m', "DE": "x" * 10_000, "FR": "other"}
    frame = frame.with_columns(country=pl.col("country").replace(names))
    out = tmp_path_factory.mktemp("artifacts") / "odd-segments"
    train(frame, out, alpha=0.05, id="order", segment="country", report=False, **SMALL)
    return out


def test_names_with_control_characters_or_10_kb_are_cut_in_metrics_and_logs(odd_names: Path):
    some = make_frame(5).with_columns(country=pl.lit("x" * 10_000)).to_dicts()
    with serving(odd_names) as live:
        found = live.post("/v1/score", json={"records": some}).json()["results"]
        text, series = live.get("/metrics").text, live.series()
        names = {v for (_, has) in series for k, v in has if k == "segment"}
        said = live.said
    assert len(names) == 4 and {"other", "(other)"} < names
    assert all(len(n) <= LONGEST_LABEL and n.isprintable() for n in names)
    assert found[0]["segment"] in names and "\x1b" not in text and "x" * 200 not in text
    assert "x" * 200 not in said
