"""An hour or a weekday that no fit record has is unseen, once there were chances enough for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.absent import Absent, check_absent
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.reasons import CalendarReason
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.calendar import (
    LEAST_DATES,
    LEAST_WEEKS,
    absent_of,
    alone_in_time,
)

MONDAY = datetime(2026, 1, 5)


def orders(days: int, a_day: int = 8, seed: int = 0, first: datetime = MONDAY) -> pl.DataFrame:
    """Orders from Monday to Friday, from 07:00 to 18:59."""
    rng = np.random.default_rng(seed)
    dates = [first + timedelta(days=k) for k in range(days)]
    times = [
        date + timedelta(minutes=int(minute))
        for date in dates
        if date.weekday() < 5
        for minute in np.sort(rng.integers(7 * 60, 19 * 60, a_day))
    ]
    amounts = np.round(rng.lognormal(3, 0.3, len(times)), 2)
    return pl.DataFrame(
        {"at": times, "amount": amounts, "kind": rng.choice(["a", "b"], len(times))}
    )


def table_of(frame: pl.DataFrame) -> Table:
    return checked_table(infer_schema(frame, TrainConfig(time="at")), frame)


def test_a_weekday_and_the_hours_of_the_night_are_absent():
    found = absent_of(table_of(orders(7 * 20)))
    assert found == {"at.hour": (*range(6), *range(20, 24)), "at.weekday": (5, 6)}


@pytest.mark.parametrize("weeks", [LEAST_WEEKS - 1, LEAST_WEEKS])
def test_too_short_a_time_tells_nothing(weeks: int):
    """Sixty working days are twelve weeks."""
    assert LEAST_DATES == 5 * LEAST_WEEKS
    found = absent_of(table_of(orders(7 * weeks, a_day=40)))
    assert bool(found) == (weeks == LEAST_WEEKS)


hours = st.lists(st.floats(0, 23.99), min_size=0, max_size=12)


@settings(max_examples=40, deadline=None)
@given(hours, st.lists(st.integers(0, 6), max_size=4))
def test_a_record_is_alone_in_time_if_without_it_the_time_is_absent(
    extra: list[float], days: list[int]
):
    """Against leaving each record out."""
    some = [
        {"at": MONDAY + timedelta(days=7 * k + day, hours=hour), "amount": 1.5, "kind": "a"}
        for k, (hour, day) in enumerate(zip(extra, [*days, *[0] * len(extra)], strict=False))
    ]
    frame = (
        pl.concat([orders(7 * 14, a_day=1), pl.DataFrame(some)], how="vertical_relaxed")
        if (some)
        else orders(7 * 14, a_day=1)
    )
    table = table_of(frame)
    want = []
    for row in range(len(table)):
        others = absent_of(table.take(np.delete(np.arange(len(table)), row)))
        vectorizer_marks = 0
        for name, spans in others.items():
            number = table.numbers[row, table.schema.place[name]]
            own = int(number) if name.endswith("hour") else round(number) % 7
            vectorizer_marks += own in spans
        want.append(vectorizer_marks)
    np.testing.assert_array_equal(alone_in_time(table), want)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out: Path = tmp_path_factory.mktemp("calendar") / "orders"
    return train(orders(7 * 30), out, alpha=0.05, time="at", report=False, **SMALL)


def test_a_sunday_and_a_night_are_the_first_reason_in_words(scorer: Scorer):
    new = orders(7 * 4, seed=1, first=MONDAY + timedelta(days=7 * 30))
    usual = scorer.score(new)
    assert usual.is_anomaly.mean() < 0.1
    sunday = new.with_columns(pl.lit(datetime(2026, 9, 13, 11, 0)).alias("at"))
    night = new.with_columns(pl.col("at").dt.replace(hour=3))
    for wrong, name, words in (
        (sunday, "at.weekday", "on a Sunday"),
        (night, "at.hour", "at 03:"),
    ):
        verdicts = scorer.score(wrong)
        assert verdicts.is_anomaly.all()
        for reasons in verdicts.reasons:
            assert isinstance(reasons[0], CalendarReason)
            assert reasons[0].column == name and words in reasons[0].words
            assert "usually" in reasons[0].words


def test_a_record_without_a_time_has_no_absent_one(scorer: Scorer):
    schema = scorer.artifact.schema
    marks = Absent.of(schema, {"at.hour": (0, 3), "at.weekday": (0,)})
    assert marks is not None
    numbers = np.full((3, len(schema.numeric)), np.nan)
    numbers[1:, schema.place["at.hour"]] = 3.5, 12.0
    numbers[1:, schema.place["at.weekday"]] = 2.0, 0.0
    unseen = np.zeros((3, len(schema.names)), bool)
    assert marks.mark(numbers, unseen)
    at = [schema.names.index(name) for name in ("at.hour", "at.weekday")]
    assert unseen[:, at].tolist() == [[False, False], [True, False], [False, True]]
    assert unseen.sum() == 2


@pytest.mark.parametrize(
    "absent", [{"amount": (1,)}, {"at.hour": (24,)}, {"at.weekday": (-1,)}, {"none": (0,)}]
)
def test_absent_times_that_training_does_not_write_are_refused(
    scorer: Scorer, absent: dict[str, tuple[int, ...]]
):
    check_absent(scorer.artifact.schema, scorer.artifact.vectorizer.absent)
    with pytest.raises(ArtifactError, match="are not as training writes them"):
        check_absent(scorer.artifact.schema, absent)


def test_an_artifact_of_before_has_no_absent_times(scorer: Scorer):
    before = replace(scorer.artifact.vectorizer, absent={})
    sunday = pl.DataFrame({"at": [datetime(2026, 9, 13, 11)], "amount": [20.0], "kind": ["a"]})
    table = checked_table(scorer.artifact.schema, sunday)
    assert scorer.artifact.vectorizer.transform(table).unseen.any()
    assert not before.transform(table).unseen.any()
