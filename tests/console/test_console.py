"""The console's data: the budget, the columns, the last alarms, and trials that do not count."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom

from tests.conftest import make_frame
from tests.live import Live, serving
from tests.service.test_service_life import (
    SCORE,
    bearer,
    child_pids,
    command_of,
    until,
    write_keys,
)
from vaewatch.scoring.budget.calibration import Calibration, RateLaw
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.console.budget import Budget, budget_of
from vaewatch.service.console.columns import ColumnState, columns_of
from vaewatch.service.console.health import health_of
from vaewatch.service.console.overview import latency_of, samples_of
from vaewatch.service.watch.courses import MOST_TEXT
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.place import Place
from vaewatch.service.watch.recent import (
    MOST_ALARMS,
    MOST_REASONS,
    SPANS,
    Memory,
    Recent,
    Span,
    joined,
)
from vaewatch.service.watch.window import Totals

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
CSV = {"content-type": "text/csv"}
STRANGE = {"currency": "XXX", "amount": 1e6, "country": "<b>ZZ</b>"}


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--max-records", "2000", "--max-in-flight", "2") as running:
        yield running


def state(live: Live, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = live.get("/console/state", **options).json()
    return found


# the budget


@pytest.mark.parametrize(("m", "a", "b"), [(1, 1, 20), (50, 3, 400), (10_000, 134, 13_316)])
def test_what_chance_allows_is_the_beta_binomial(m: int, a: int, b: int):
    chance = Chance(m, a, a + b - 1)
    each = np.diff([chance.at_most(alarms) for alarms in range(m + 1)], prepend=0.0)
    law = betabinom(m, a, b)
    np.testing.assert_allclose(each, law.pmf(range(m + 1)), 1e-6, 1e-13)
    expected = Expected.of(RateLaw(a + b - 1, a, a), m)
    low, high = expected.low, expected.high
    assert (low, high) == (int(law.ppf(0.005)), int(law.ppf(0.995)))
    assert law.cdf(high) - law.cdf(low - 1) >= 0.99


def test_alarms_are_within_above_or_below_what_chance_allows():
    calibration = Calibration(np.arange(1000.0), 0.05, "split")
    budget = budget_of(calibration, 2000, 0)
    assert budget.state == "below" and budget.low < budget.expected < budget.high
    assert budget_of(calibration, 2000, budget.low).state == "within"
    assert budget_of(calibration, 2000, budget.high).state == "within"
    assert budget_of(calibration, 2000, budget.high + 1).state == "above"
    assert budget_of(calibration, 0, 0).state == "empty"
    assert budget_of(calibration, 2000, 400).verdict.startswith(
        "at most about 25% of them false ("
    )


def column(name: str, **given: Any) -> ColumnState:
    usual = {"kind": "numeric", "psi": 0.01, "missing": 0.0, "usual_missing": 0.0, "unseen": 0.0}
    return ColumnState(name=name, **{**usual, "usual_unseen": 0.0, "first_reason": 0, **given})


def a_budget(state: str) -> Budget:
    return Budget(0.01, 1000, 30, 10.0, 3, 20, 0.99, state)


def test_health_says_in_words_what_is_wrong_and_where():
    led = column("amount", first_reason=20), column("country", first_reason=5)
    moved = column("age", psi=2.0, changed="missing in 40%, usually 9.8%")
    health = health_of(a_budget("above"), [moved, *led, column("calm")], 0.0, draining=False)
    assert health.level == "alarm"
    assert "30 alarms in the last 1,000 records; about 10 expected" in health.text
    assert "chance alone gives 3 to 20" in health.text
    loud = msgspec.structs.replace(a_budget("above"), verdict="at most about 33% of them false")
    health = health_of(loud, [moved, *led, column("calm")], 0.0, draining=False)
    assert "20. At most about 33% of them false. Either" in health.text
    assert [look.column for look in health.look_at] == ["amount", "country", "age"]
    assert health.look_at[0].why == "first reason of 20 of 25 alarms"
    for evidence, columns, level in ((0.0, [], "ok"), (2.5, [], "warn"), (0.0, [moved], "warn")):
        assert health_of(a_budget("within"), columns, evidence, draining=False).level == level
    assert health_of(a_budget("below"), [], 0.0, draining=False).level == "warn"
    assert health_of(a_budget("empty"), [], 0.0, draining=False).level == "idle"
    assert "stopping" in health_of(a_budget("within"), [], 0.0, draining=True).headline


# the columns


def test_columns_are_shares_of_recent_records(scorer: Scorer):
    drift = scorer.artifact.drift
    names = drift.schema.names
    at = names.index("age")
    counts = drift.counts.copy()
    events = np.zeros((4, len(names)), dtype=np.int64)
    events[0, at], events[3, at] = 300, 7
    window = Totals("v", counts.tolist(), events.tolist(), 600, 7)
    age = columns_of(drift, window)[at]
    assert (age.missing, age.first_reason) == (0.5, 7)
    reference = make_frame(400)["age"].is_null().mean()
    assert age.usual_missing == pytest.approx(reference, abs=0.02)
    assert age.changed is not None and age.changed.startswith("missing in 50%")
    assert columns_of(drift, Totals("v", counts.tolist(), events.tolist(), 499, 7))[at].psi is None
    assert columns_of(drift, Totals("v", [], [], 0, 0)) == []


def test_the_psi_of_one_source_is_what_chance_gives(scorer: Scorer):
    drift, generator = scorer.artifact.drift, np.random.default_rng(3)
    at = drift.schema.names.index("amount")
    shares = drift.counts[at] / drift.counts[at].sum()
    n, found = int(drift.counts[at].sum()), []
    for _ in range(300):  # two samples of one source: the reference is itself a draw
        live, reference = generator.multinomial(700, shares), generator.multinomial(n, shares)
        p, q = (reference + 0.5) / (n + 5.5), (live + 0.5) / (700 + 5.5)
        found.append(float(((q - p) * np.log(q / p)).sum()))
    assert np.mean(found) == pytest.approx(drift.psi_by_chance(700)[at], rel=0.25)


# what is remembered


def verdicts(n: int, text: str = "x") -> Verdicts:
    reasons = tuple(Reason(f"c{i}", text, text, 1.0) for i in range(9))
    p = np.linspace(1e-5, 0.9, n)
    return Verdicts(np.arange(float(n)), p, -np.log10(p), p < 0.5, [reasons] * n)


def test_memory_is_bounded_and_holds_no_value_unless_allowed():
    hidden, shown = Recent(values=False), Recent(values=True)
    for recent in (hidden, shown):
        for _ in range(3):
            recent.add(verdicts(3000, "secret " * 1000), 10)
    alarms = shown.memory().alarms
    assert len(alarms) == MOST_ALARMS
    assert all(len(alarm.reasons) == MOST_REASONS for alarm in alarms)
    assert {len(str(c.observed)) for a in alarms for c in a.reasons} == {MOST_TEXT}
    assert "secret" not in str(hidden.memory()) + str(hidden)
    spans = hidden.memory().spans
    assert sum(span.records for span in spans) == 9000
    assert sum(sum(span.severities) for span in spans) == 9000
    assert sum(span.alarms for span in spans) == 30


def test_the_last_alarms_keep_the_places_they_came_with():
    recent = Recent(values=False)
    places = [Place("one", i, 100) for i in range(100)]
    recent.add(verdicts(100), 10, [None, *places[-30:]])
    anomalies = int(verdicts(100).is_anomaly.sum())
    found = [alarm.place for alarm in recent.memory().alarms]
    assert found[:30] == places[-30:][::-1]
    assert found[30:] == [None] * (min(anomalies, MOST_ALARMS) - 30)


def test_the_memories_of_workers_are_added_up():
    old, one, two = Span(10, 5, 5, [5]), Span(5000, 2, 1, [1, 1]), Span(5000, 3, 0, [3, 0])
    found = joined([Memory([], [old, one]), Memory([], [two, Span(5010, 1, 0, [1, 0])])], 5015.0)
    assert found.spans == [Span(5000, 5, 1, [4, 1]), Span(5010, 1, 0, [1, 0])]
    assert SPANS * 10 == 3600


def test_every_number_of_a_span_is_summed_over_workers():
    numbers = set(Span.__struct_fields__) - {"start", "severities"}
    counts = {name: 10**i for i, name in enumerate(sorted(numbers))}
    mine, other = (Span(start=5000, severities=[1, 0], **counts) for _ in range(2))
    [found] = joined([Memory([], [mine]), Memory([], [other])], 5005.0).spans
    assert {name: getattr(found, name) for name in numbers} == {
        k: 2 * n for k, n in counts.items()
    }
    assert (found.start, found.severities) == (5000, [2, 0])


def test_answer_times_are_those_of_scoring_routes_alone():
    metrics = Metrics()
    for route, seconds in (("/v1/score", 0.0015), ("/v1/score", 0.02), ("/metrics", 0.02)):
        metrics.request_seconds.labels(route, "POST", "200").observe(seconds)
    latency = latency_of(samples_of(metrics.families()))
    assert sum(latency.counts) == 2
    assert latency.counts[latency.bounds.index(0.002)] == 1
    assert latency.counts[latency.bounds.index(0.025)] == 1
    assert len(latency.counts) == len(latency.bounds) + 1


# the routes


def test_browsers_get_the_page_and_others_get_json(live: Live):
    page = live.get("/", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert live.get("/").json()["docs"] == "/docs"
    for name in (
        "console/console.css",
        "console/console.js",
        "console/courses.js",
        "console/recalibrate.js",
    ):  # relative: a proxy may add a path
        assert live.get(f"/{name}").status_code == 200 and f'"{name}"' in page.text
    assert "http" not in page.text.replace("http://www.w3.org/2000/svg", "")  # it works offline


def test_the_console_can_be_switched_off(artifact_path: Path):
    with serving(artifact_path, env={"VAEWATCH_CONSOLE": "false"}) as live:
        assert live.get("/", headers=HTML).json()["docs"] == "/docs"
        for name in ("state", "console.js", "courses.js", "recalibrate.js"):
            path = f"/console/{name}"
            assert live.get(path).status_code == 404
        assert live.post("/console/score", json={"records": []}).status_code == 404


def test_what_the_console_shows_is_behind_the_key(artifact_path: Path, tmp_path: Path):
    write_keys(tmp_path / "keys", score=SCORE)
    with serving(artifact_path, "--keys-file", str(tmp_path / "keys")) as live:
        page = live.get("/", headers=HTML)
        assert page.status_code == 200
        assert "amount" not in page.text + live.get("/console/console.js").text
        assert live.get("/console/state").status_code == 401
        assert live.post("/console/score", json={"records": [{}]}).status_code == 401
        assert state(live, headers=bearer(SCORE))["keys"] is True


def test_the_state_has_the_numbers_of_the_metrics(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path, "--console-values") as live:
        live.post("/v1/score", json={"records": records})
        live.post("/v1/score", json={"records": [{**records[0], **STRANGE}] * 3})
        live.post("/v1/score", json={"records": [{}]})
        found, series = state(live), live.value
        for verdict, n in found["records"].items():
            assert series("vaewatch_records_total", verdict=verdict) == n
        budget = found["budget"]
        assert budget["records"] == series("vaewatch_window_records") == len(records) + 3
        ratio = budget["alarms"] / budget["records"] / budget["alpha"]
        assert ratio == pytest.approx(series("vaewatch_alpha_ratio"))
        expected = Expected.at(Scorer.load(artifact_path).artifact.calibration, budget["records"])
        assert budget["verdict"] == expected.verdict(budget["alarms"])
        assert budget["expected"] == pytest.approx(series("vaewatch_alarms_expected_total"))
        assert found["evidence"] == series("vaewatch_exchangeability_log10")
        assert sum(found["latency"]["counts"]) == 3
        for one in found["columns"]:
            name, n = one["name"], budget["records"]
            counted = round(one["missing"] * n), one["first_reason"]
            assert counted == (
                series("vaewatch_column_missing_total", column=name),
                series("vaewatch_column_top_reason_total", column=name),
            )
        alarms = found["recent"]["alarms"]
        assert len(alarms) == found["records"]["anomaly"]
        causes = {c["column"]: c["observed"] for c in alarms[0]["reasons"]}
        assert set(causes) & set(STRANGE)
        assert all(causes[name] == {**records[0], **STRANGE}[name] for name in causes)


def test_an_alarm_has_its_place_in_its_request_and_its_id(
    artifact_path: Path, records: list[dict[str, Any]]
):
    odd = {**records[0], **STRANGE}
    with serving(artifact_path) as live:
        sent = [*records[:16], {**odd, "order": "A-17"}, *records[16:20]]
        live.post("/v1/score", json={"records": sent}, headers={"x-request-id": "first"})
        bad = {**odd, "amount": "x"}
        kept = {"records": [bad, {**odd, "order": 18}]}
        live.post("/v1/score?on_error=null", json=kept, headers={"x-request-id": "second"})
        many = [*records, *records, odd]
        live.post("/v1/score", json={"records": many}, headers={"x-request-id": "third"})
        alarms = state(live)["recent"]["alarms"]
        places = [(a["place"]["request"], a["place"]["index"]) for a in alarms]
        assert places[0] == ("third", len(many) - 1) and alarms[0]["place"]["id"] is None
        by_place = {place: alarm["place"] for place, alarm in zip(places, alarms, strict=True)}
        assert by_place["first", 16] == {
            "request": "first", "index": 16, "records": 21, "id": "A-17"
        }  # fmt: skip
        second = by_place["second", 1]
        assert (second["records"], second["id"]) == (2, "18")


def test_under_workers_the_console_shows_the_sum(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path, "--workers", "2") as live:
        for start in range(0, 200, 10):
            live.post("/v1/score", json={"records": records[start : start + 10]})
        live.post("/v1/score", json={"records": [{**records[0], **STRANGE}]})

        def spans(found: dict[str, Any]) -> int:
            return sum(span["records"] for span in found["recent"]["spans"])

        until(lambda: all(spans(state(live)) == 201 for _ in range(6)))
        for _ in range(6):
            found = state(live)
            assert sum(found["records"].values()) == found["budget"]["records"] == 201
            assert len(found["recent"]["alarms"]) == found["records"]["anomaly"] > 0
        workers = child_pids(live.process.pid)
        assert sum("spawn_main" in command_of(pid) for pid in workers) == found["workers"] == 2


def test_the_report_is_that_of_the_model_that_answers(artifact_path: Path, tmp_path: Path):
    shutil.copytree(artifact_path, tmp_path / "shop")
    with serving(tmp_path / "shop") as live:
        answer = live.get("/console/report")
        assert answer.content == (artifact_path / "report.html").read_bytes()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert state(live)["model"]["report"] is True
        (tmp_path / "shop" / "report.html").write_text("<script>another one</script>")
        assert live.get("/console/report").status_code == 409
    manifest = json.loads((artifact_path / "manifest.json").read_text())
    del manifest["sha256"]["report.html"]
    (tmp_path / "shop" / "manifest.json").write_text(json.dumps(manifest))
    with serving(tmp_path / "shop") as live:
        assert live.get("/console/report").status_code == 404
        assert state(live)["model"]["report"] is False


# trials


def test_a_trial_scores_as_the_api_does_and_is_not_counted(
    live: Live, records: list[dict[str, Any]]
):
    body = {"records": [records[3], {**records[4], **STRANGE}]}
    tried = live.post("/console/score?explain=100", json=body).json()
    assert live.value("vaewatch_records_total") == 0
    assert tried == live.post("/v1/score?explain=100", json=body).json()
    assert live.value("vaewatch_records_total") == 2
    broken = live.post("/console/score", json={"records": [{**records[0], "amount": "x"}]})
    assert broken.status_code == 422 and broken.json()["errors"][0]["column"] == "amount"
    many = live.post("/console/score", json={"records": (records * 3)[:1000]})
    assert len(many.json()["results"]) == 1000
    assert live.value("vaewatch_records_total") == 2
    assert live.value("vaewatch_records_per_request_count") == 1


ROWS = (
    "note;amount;items;age;country;express;currency;version\r\n"
    '"a; ""quoted""\nnote";100.5;3;;NL;true;EUR;3\r\n'
    "\r\n"
    "too;few\r\n"
    "bad;ten;3;40;NL;true;EUR;3\r\n"
    "odd;1000000;3;40;ZZ;true;XXX;3\r\n"
)


def test_a_csv_comes_back_with_its_verdicts(live: Live, scorer: Scorer):
    answer = live.post("/console/score?on_error=null", content=ROWS.encode(), headers=CSV)
    assert json.loads(answer.headers["x-counts"]) == {"records": 4, "anomalies": 1, "rejected": 2}
    head, first, rest = answer.content.split(b"\r\n", 2)
    assert head == ROWS.split("\r\n")[0].encode() + (
        b";anomaly_score;p_value;severity;is_anomaly;top_reasons;error"
    )
    assert first.startswith(b'"a; ""quoted""\nnote";100.5;3;;NL;true;EUR;3;')
    few, bad, odd, end = rest.split(b"\r\n")
    assert few.startswith(b"too;few;;;;;;") and b"must have 8 fields" in few
    assert b"must be a number" in bad and end == b""
    record = {"amount": 100.5, "items": 3, "age": None, "country": "NL", "express": True}
    expected = scorer.score_records([{**record, "currency": "EUR", "version": 3}])[0]
    cells = first.removeprefix(ROWS.split("\r\n")[1].encode() + b";").split(b";")
    assert float(cells[0]) == pytest.approx(expected.score, rel=1e-5)
    assert float(cells[1]) == expected.p_value
    assert b";true;" in odd and b"XXX" in odd
    whole = live.post("/console/score", content=ROWS.encode(), headers=CSV)
    assert whole.status_code == 422
