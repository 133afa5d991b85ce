"""Codes, hours and weekdays rule out values of other columns, as categories do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL
from vaewatch.scoring.features.between.exclusions import Exclusions
from vaewatch.scoring.features.known import GIVEN, KNOWN, MISSING, KnownValues, events_of
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.between.exclusions import EXPECTED, exclusions_of
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.calendar import LEAST_DATES, LEAST_WEEKS

MONDAY = datetime(2026, 1, 5)
LEVELS = {"code": (-1.5, 0.1, 7.0), "term": (14.0, 30.0, 60.0)}


def requests(n: int, seed: int) -> pl.DataFrame:
    """Requests to an interface, whose status is a number: 201 goes with POST, 401 with /login."""
    rng = np.random.default_rng(seed)
    path = rng.choice(["/login", "/cart", "/search", "/orders", "/health"], n)
    method = np.where(rng.random(n) < 0.4, "POST", "GET")
    fine = np.where(method == "POST", 201, 200)
    denied = (path == "/login") & (rng.random(n) < 0.25)
    return pl.DataFrame(
        {
            "path": path,
            "method": method,
            "status": np.where(denied, 401, fine),
            "ms": np.round(rng.lognormal(3, 0.5, n), 1),
            "retries": np.where(method == "POST", np.nan, rng.geometric(0.7, n)),
            "backoff": np.where(method == "POST", np.nan, np.round(rng.gamma(2, 9, n), 1)),
        }
    ).with_columns(pl.col("retries", "backoff").fill_nan(None))


def visits(days: int, seed: int, a_day: int = 25) -> pl.DataFrame:
    """Two shifts of a desk, one in the mornings; nobody registers on a Sunday."""
    rng = np.random.default_rng(seed)
    at = [
        MONDAY + timedelta(days=day, minutes=int(minute))
        for day in range(days)
        for minute in np.sort(rng.integers(6 * 60, 22 * 60, a_day))
    ]
    sunday = np.array([time.weekday() == 6 for time in at])
    n = len(at)
    return pl.DataFrame(
        {
            "at": at,
            "shift": np.where([time.hour < 14 for time in at], "early", "late"),
            "kind": np.where(~sunday & (rng.random(n) < 0.3), "new", "known"),
            "minutes": np.round(rng.gamma(4, 3, n), 1),
        }
    )


def table_of(frame: pl.DataFrame, **config: Any) -> Table:
    return checked_table(infer_schema(frame, TrainConfig(**config)), frame)


def unseen(vectorizer: Vectorizer, frame: pl.DataFrame) -> list[set[str]]:
    """Return the columns of each record that hold something unseen."""
    marks = vectorizer.transform(checked_table(vectorizer.schema, frame)).unseen
    return [{vectorizer.schema.names[i] for i in np.flatnonzero(row)} for row in marks]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out = tmp_path_factory.mktemp("requests") / "artifact"
    return train(requests(5000, 0), out, alpha=0.01, report=False, seed=1, **SMALL)


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({"method": "GET", "retries": 1, "backoff": 8.5, "status": 201}, "status", 200),
        ({"method": "POST", "retries": None, "backoff": None, "status": 200}, "status", 201),
        ({"path": "/cart", "status": 401}, "status", None),
        ({"method": "GET", "status": 200, "retries": 1, "backoff": None}, "backoff", None),
    ],
)
def test_a_code_that_never_came_with_it_alarms_and_the_reason_says_so(
    scorer: Scorer, change: dict[str, Any], column: str, expected: float | None
):
    odd = requests(60, 1).filter(pl.col("path") == "/cart").with_columns(status=pl.lit(200))
    odd = odd.with_columns(pl.lit(value).alias(name) for name, value in change.items())
    verdicts = scorer.score(odd.cast(dict(zip(odd.columns, requests(9, 1).dtypes, strict=True))))
    assert verdicts.is_anomaly.all()
    first = [reasons[0] for reasons in verdicts.reasons]
    assert np.mean([reason.column == column for reason in first]) > 0.9
    if expected is not None:
        assert {reason.expected for reason in first if reason.column == column} == {expected}


def test_normal_requests_keep_the_budget(scorer: Scorer):
    assert scorer.score(requests(6000, 2), explain=0).is_anomaly.mean() < 0.02


def test_what_is_rare_is_ruled_out_where_it_is_confined():
    """401 is too rare to be missed at any single other path, but at all others together."""
    frame = requests(3000, 0)
    assert 100 < (frame["status"] == 401).sum() < 5 * EXPECTED
    fit = fit_vectorizer(table_of(frame))
    at = {path: {"path": path, "status": 401} for path in frame["path"].unique()}
    rows = [
        frame.head(1).with_columns(**{k: pl.lit(v) for k, v in one.items()}) for one in at.values()
    ]
    found = dict(zip(at, unseen(fit, pl.concat(rows, how="vertical_relaxed")), strict=True))
    assert {path for path, own in found.items() if not own} == {"/login"}


def test_what_is_not_confined_rules_nothing_out():
    """Of 300 records with one value each of 60 others comes often, seldom or never, by chance."""
    broken = records = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        shares = rng.dirichlet(np.full(60, 0.3))
        frame = pl.DataFrame(
            {
                "kind": rng.choice(["a", "b", "rare"], 12_000, p=[0.6, 0.35, 0.05]),
                "code": rng.choice(60, 12_000, p=shares) * 10,
                "x": rng.normal(size=12_000),
            }
        )
        fit = fit_vectorizer(table_of(frame[:6000]))
        if (tables := Exclusions.of(fit.schema, fit.levels, fit.exclusions)) is not None:
            later = checked_table(fit.schema, frame[6000:])
            broken += int(tables.broken(later.numbers, later.codes).any(1).sum())
        records += 6000
    assert broken / records < 2e-4


def test_a_shift_at_another_time_of_day_and_a_weekday_are_ruled_out():
    frame = visits(7 * 20, 0)
    fit = fit_vectorizer(table_of(frame, time="at"))
    odd = pl.DataFrame(
        [
            (datetime(2026, 6, 10, 9, 30), "late", "known", 12.0),
            (datetime(2026, 6, 10, 19, 30), "early", "known", 12.0),
            (datetime(2026, 6, 10, 14, 20), "early", "known", 12.0),  # within an hour of its own
            (datetime(2026, 6, 14, 9, 30), "early", "new", 12.0),
            (datetime(2026, 6, 13, 9, 30), "early", "new", 12.0),
        ],
        schema=frame.columns,
        orient="row",
    )
    either = [{"at.hour"}, {"at.hour"}, set(), {"at.weekday"}, set()]
    assert unseen(fit, odd) == either


@pytest.mark.parametrize("days", [7 * (LEAST_WEEKS - 1), LEAST_DATES - 1])
def test_too_few_days_rule_no_time_out(days: int):
    frame = visits(days, 0, a_day=3000 // days)
    found = exclusions_of(Together.of(table_of(frame, time="at"), {}))
    assert not {each.other for each in found} & {"at.weekday"}
    if days < LEAST_DATES:
        assert not {each.other for each in found} & {"at.hour"}


def test_what_is_expected_is_a_time_that_is_not_ruled_out(tmp_path: Any):
    frame = visits(7 * 20, 0)
    scorer = train(frame, tmp_path / "a", alpha=0.01, time="at", report=False, seed=1, **SMALL)
    odd = frame.tail(200).filter((pl.col("shift") == "early") & (pl.col("kind") == "known"))
    odd = odd.with_columns(at=pl.col("at").dt.replace(hour=19))
    verdicts = scorer.score(odd)
    assert verdicts.is_anomaly.all()
    hours = [
        float(reason.expected or 0)
        for reasons in verdicts.reasons
        for reason in reasons[:1]
        if reason.column == "at.hour"
    ]
    assert len(hours) > len(odd) / 2 and all(6 <= hour < 15 for hour in hours)
    assert scorer.score(visits(7 * 20, 3), explain=0).is_anomaly.mean() < 0.02


numbers = st.one_of(st.sampled_from([-1.5, 0.1, 7.0, 14.0, 30.0, 60.0, 31.0]), st.none())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers, st.integers(0, 1)), min_size=1, max_size=9))
def test_known_values_are_read_as_a_slow_derivation_does(rows: list[tuple[Any, Any, int]]):
    frame = pl.DataFrame(
        {"code": [-1.5, 2.5], "other": [1.5, 2.5], "kind": ["a", "b"], "term": [14.5, None]}
    )
    schema = infer_schema(frame, TrainConfig())
    codes = np.array([[kind] for *_, kind in rows], np.int32)
    columns = {"code": [row[0] for row in rows], "term": [row[1] for row in rows]}
    columns["other"] = columns["code"]
    own = np.array([columns[c.name] for c in schema.numeric], float).T
    for single, names in product((False, True), (schema.names, ("term",))):
        read = own.astype(np.float32).astype(np.float64) if single else own
        got = KnownValues.of(schema, LEVELS, names).read(read, codes)
        for row, record in zip(got, rows, strict=True):
            assert row[schema.names.index("kind")] == record[2]
            for name, value in (("code", record[0]), ("term", record[1]), ("other", record[0])):
                levels = LEVELS[name] if name in LEVELS and name in names else ()
                known = KNOWN + levels.index(value) if value in levels else GIVEN
                assert row[schema.names.index(name)] == (MISSING if value is None else known)


def test_an_artifact_that_rules_out_any_number_rules_out_each_level():
    frame = requests(900, 0)
    fit = fit_vectorizer(table_of(frame))
    assert "status" in fit.levels
    no_status = Exclusion("method", 1, "status", events=(GIVEN,))
    marks = unseen(replace(fit, exclusions=(no_status,)), frame)
    code = fit.schema.columns[fit.schema.names.index("method")].categories[1]
    assert [bool(own) for own in marks] == (frame["method"] == code).to_list()


def test_a_column_has_an_event_for_each_value_it_knows():
    table = table_of(visits(7 * 20, 0), time="at")
    sizes = {c.name: events_of(c, {"minutes": (1.0, 2.0)}) for c in table.schema.columns}
    assert sizes["at.hour"] == KNOWN + 24 and sizes["at.weekday"] == KNOWN + 7
    assert sizes["minutes"] == KNOWN + 2
