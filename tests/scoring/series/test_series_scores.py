"""A record scores the same however it and those before it come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.scoring.series.made import SIZE, SMALL, telemetry
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.schema import OTHER
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.course import Units
from vaewatch.scoring.series.kept import history_key, pack_history, unpack_history
from vaewatch.scoring.table import table_of
from vaewatch.scoring.verdicts import Verdict, Verdicts
from vaewatch.training.train import train

Record = dict[str, Any]
Records = list[Record]


@pytest.fixture(scope="module")
def records() -> Records:
    return telemetry(60, seed=5).to_dicts()


def in_pieces(scorer: Scorer, records: Records, cuts: list[int]) -> np.ndarray:
    history = scorer.history()
    bounds = [0, *cuts, len(records)]
    return np.concatenate(
        [
            scorer.score_table(
                table_of(scorer.artifact.schema, records[a:b]), history=history
            ).score
            for a, b in zip(bounds, bounds[1:], strict=False)
        ]
    )


def assert_same(got: np.ndarray, want: np.ndarray) -> None:
    assert np.array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_record_scores_the_same_in_pieces_alone_and_with_its_window_only(
    series_scorer: Scorer, records: Records
):
    whole = series_scorer.score(records)
    want = whole.score
    assert np.isnan(want).sum() == 3 * (SIZE - 1) and len(set(want[~np.isnan(want)])) > 50
    assert_same(in_pieces(series_scorer, records, list(range(1, len(records)))), want)
    assert_same(in_pieces(series_scorer, records, [1, 2, 30, 31, 100, 179]), want)
    for i in range(60, 180, 7):
        name = records[i]["machine"]
        own = [r for r in records[: i + 1] if r["machine"] == name][-SIZE:]
        alone = series_scorer.score(own)
        assert_same(alone.score[-1:], want[i : i + 1])
        assert alone.is_anomaly[-1] == whole.is_anomaly[i]
        assert alone.history == ["warming_up"] * (SIZE - 1) + ["full"]


def test_entities_mixed_or_one_after_another_score_the_same(
    series_scorer: Scorer, records: Records
):
    order = sorted(range(len(records)), key=lambda i: records[i]["machine"])
    want = series_scorer.score(records).score
    got = series_scorer.score([records[i] for i in order]).score
    assert_same(got, want[order])
    by_entity = [
        series_scorer.score([r for r in records if r["machine"] == m]) for m in "m0 m1 m2".split()
    ]
    assert_same(np.concatenate([v.score for v in by_entity]), want[order])


def test_a_history_that_went_through_bytes_goes_on_alike(series_scorer: Scorer, records: Records):
    artifact, history = series_scorer.artifact, series_scorer.history()
    assert history is not None and artifact.window is not None
    schema, window = artifact.schema, artifact.window
    series_scorer.score_table(table_of(schema, records[:90]), history=history)
    key = history_key(artifact.version, window)
    width = window.width(len(artifact.vectorizer.features))
    content = pack_history(history, key)
    again = unpack_history(content, key, series_scorer.history(), width, len(schema.names))
    rest = table_of(schema, records[90:])
    one, other = (series_scorer.score_table(rest, history=each).score for each in (history, again))
    assert np.array_equal(one, other) and not np.isnan(one).any()


def worst(verdicts: Verdicts, row: int) -> str:
    return verdicts.reasons[row][0].column


@pytest.mark.parametrize(
    ("column", "value"), [("mode", "backwards"), ("unit", "psi"), ("pressure", 9.0)]
)
def test_what_is_unlike_counts_as_long_as_a_window_holds_it(
    series_scorer: Scorer, records: Records, column: str, value: Any
):
    """An unseen category, a changed constant, a number far out."""
    changed = [dict(record) for record in records]
    at = next(i for i, r in enumerate(records) if r["machine"] == "m1" and i > 80)
    changed[at][column] = value
    before, after = (series_scorer.score(each, explain=9) for each in (records, changed))
    own = [i for i, r in enumerate(records) if r["machine"] == "m1" and i >= at]
    held, later = own[:SIZE], own[SIZE:]
    assert (after.score[held] > before.score[held]).all()
    assert_same(after.score[later], before.score[later])
    others = [i for i, r in enumerate(records) if r["machine"] != "m1" or i < at]
    assert_same(after.score[others], before.score[others])
    for ago, row in enumerate(held):
        found = {reason.column: reason for reason in after.reasons[row]}
        assert found[column].ago == ago and found[column].observed != found[column].expected


def score_with_expected(scorer: Scorer, verdict: Verdict, k: int) -> float:
    """Return the score of a window with the expected course of its reason's column."""
    judge, course = scorer._windows, verdict.courses[k]
    assert judge is not None
    window = course.observed.copy()
    vectorizer, unseen = scorer.artifact.vectorizer, verdict.courses[k].unseen
    if course.index < len(vectorizer.schema.names):
        own = np.flatnonzero(vectorizer.column_map[:, course.index])
    else:
        own, unseen = np.array([len(vectorizer.features)]), np.zeros(SIZE, bool)
    window[:, own] = course.expected[:, own]
    parts = judge.network.alone(window[None])
    assert not unseen.any() or verdict.reasons[k].observed in (OTHER, 30.0, "psi")
    return float(parts.reconstruction[0] + parts.neighbour[0])


def test_a_contribution_is_how_far_the_score_falls_with_the_expected_course(
    series_scorer: Scorer, records: Records
):
    """In all views of the window. An unseen value adds its nats as long as one is left."""
    changed = [dict(record) for record in records]
    changed[100]["pressure"], changed[150]["unit"] = 30.0, "psi"
    verdicts = series_scorer.score(changed, explain=100)
    checked, by_neighbours_alone = 0, 0
    for row in np.flatnonzero(verdicts.judged):
        verdict = verdicts[row]
        assert verdict.parts is not None
        parts = verdict.parts
        assert verdict.score == pytest.approx(
            parts.reconstruction + parts.kl + parts.neighbour, rel=1e-5
        )
        contributions = [reason.contribution for reason in verdict.reasons]
        assert contributions == sorted(contributions, reverse=True)
        for k, reason in enumerate(verdict.reasons):
            fall = verdict.score - score_with_expected(series_scorer, verdict, k)
            if not any(course.unseen.any() for course in verdict.courses):
                assert reason.contribution == pytest.approx(fall, rel=1e-3, abs=1e-3)
            assert reason.contribution > 0
            checked += 1
        by_neighbours_alone += parts.reconstruction == 0 and bool(verdict.reasons)
    assert checked > 100 and by_neighbours_alone > 5


@pytest.mark.parametrize(
    "values",
    [
        {"unit": "psi"},
        {"mode": "backwards"},
        {"pressure": None},
        {"pressure": 50.0},
        {"pressure": -7.0},
    ],
)
def test_what_is_unseen_in_the_newest_record_alarms_and_comes_first(
    series_scorer: Scorer, records: Records, values: Record
):
    """A constant that changes, a new category, a first missing value, a number far outside:
    whatever else there is.
    """
    changed = [dict(record) for record in records]
    own = [i for i, r in enumerate(records) if r["machine"] == "m1"][40:50]
    for i in own:
        changed[i] |= values
    verdicts = series_scorer.score(changed, explain=9)
    assert verdicts.is_anomaly[own].all()
    assert (verdicts.p_value[own] == 1 / (series_scorer.artifact.calibration.n + 1)).all()
    for i in own:
        first = verdicts.reasons[i][0]
        assert first.column in values and first.ago == 0
        assert first.observed == values[first.column]
        if first.column == "pressure":
            assert isinstance(first.expected, float) and abs(first.expected) < 3


@pytest.mark.parametrize("value", [0.0, -0.01, 3.25, 1017.5])
def test_a_0_is_shown_as_0_and_no_other_number_is(
    series_scorer: Scorer, records: Records, value: float
):
    """A feature is a float32, of which a 0 leaves some ten-millionths of its column's mean."""
    schema, vectorizer = series_scorer.artifact.schema, series_scorer.artifact.vectorizer
    assert series_scorer.artifact.window is not None
    table = table_of(schema, [{**records[0], "pressure": value}])
    (features,) = vectorizer.transform(table).values
    units = Units(vectorizer, series_scorer.artifact.window)
    shown = units.value(features, schema.names.index("pressure"))
    assert shown == pytest.approx(value, rel=1e-4) and (shown == 0) == (value == 0)


@pytest.fixture(scope="module")
def whole() -> pl.DataFrame:
    """Megabytes about 500, and bytes that are taken as log(1 + x)."""
    rng = np.random.default_rng(1)
    frame = telemetry(entities=2)
    return frame.with_columns(
        memory=(500 + 100 * pl.col("pressure")).round().cast(pl.Int64),
        bytes=pl.Series(rng.lognormal(8, 2, len(frame)).round().astype(int)),
    ).drop("pressure", "flow", "unit")


@pytest.fixture(scope="module")
def whole_scorer(whole: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return train(whole, tmp_path_factory.mktemp("whole") / "artifact", alpha=0.05, **SMALL)


@pytest.mark.parametrize(
    ("column", "value"),
    [("memory", 0.43), ("memory", 1.5), ("memory", 2), ("bytes", 0.75), ("bytes", 10**9)],
)
def test_a_fraction_among_whole_numbers_is_shown_as_one(
    whole_scorer: Scorer, whole: pl.DataFrame, column: str, value: float
):
    vectorizer = whole_scorer.artifact.vectorizer
    assert {f.column: f.log1p for f in vectorizer.features if f.code is None}["bytes"]
    changed = [dict(record) for record in whole.to_dicts()]
    row = next(i for i, r in enumerate(changed) if r["machine"] == "m1" and i > 100)
    changed[row][column] = value
    reasons = {r.column: r for r in whole_scorer.score(changed, explain=9).reasons[row]}
    reason = reasons[column]
    assert reason.observed == pytest.approx(value, rel=1e-4, abs=1e-4)
    assert isinstance(reason.observed, int) == (value == int(value))
    assert str(reason).startswith(f"{column} is {value:.4g}, expected") or value == 10**9
    assert isinstance(reason.expected, int)


def test_two_unseen_values_of_a_record_are_two_reasons(series_scorer: Scorer, records: Records):
    changed = [dict(record) for record in records]
    at = next(i for i, r in enumerate(records) if r["machine"] == "m1" and i > 100)
    changed[at] |= {"unit": "psi", "mode": "backwards"}
    one, two = series_scorer.score(changed, explain=9)[at].reasons[:2]
    assert {one.column, two.column} == {"unit", "mode"}
    assert min(one.contribution, two.contribution) > 0.9 * series_scorer.artifact.rule.newest


@pytest.mark.parametrize(
    ("column", "value", "ago"), [("pressure", 9.0, 3), ("pressure", -500.0, 0), ("mode", "odd", 1)]
)
def test_a_course_shows_each_record_as_it_was(
    series_scorer: Scorer, records: Records, column: str, value: Any, ago: int
):
    changed = [dict(record) for record in records]
    at = [i for i, r in enumerate(records) if r["machine"] == "m2"]
    changed[at[33 - ago]][column] = value
    verdict = series_scorer.score(changed, explain=9)[at[33]]
    courses = {course.column: course for course in verdict.courses}
    assert [course.column for course in verdict.courses] == [r.column for r in verdict.reasons]
    shown = [courses[column].at(k)[0] for k in range(SIZE)]
    want = [changed[i][column] for i in at[33 - SIZE + 1 : 34]]
    if column == "pressure":
        assert shown == pytest.approx(want, abs=2e-3)
    else:
        assert shown == [OTHER if each == value else each for each in want]
    assert courses[column].worst == SIZE - 1 - ago and courses[column].unseen.sum() == 1


def test_a_course_tells_a_missing_number_from_one_far_outside(
    series_scorer: Scorer, records: Records
):
    changed = [dict(record) for record in records]
    at = [i for i, r in enumerate(records) if r["machine"] == "m2"]
    changed[at[32]]["pressure"], changed[at[33]]["pressure"] = None, 40.0
    verdict = series_scorer.score(changed, explain=9)[at[33]]
    course = next(course for course in verdict.courses if course.column == "pressure")
    assert course.at(SIZE - 2)[0] is None and course.at(SIZE - 1)[0] == 40.0


def planted(records: Records, column: str, kind: str, seed: int) -> tuple[Records, int]:
    """Change a column of one machine for 4 records; also return the row of the last of them."""
    rng = np.random.default_rng(seed)
    name = f"m{rng.integers(3)}"
    own = [i for i, r in enumerate(records) if r["machine"] == name]
    start = int(rng.integers(SIZE, len(own) - 4))
    changed = [dict(record) for record in records]
    values = [changed[i][column] or 0.0 for i in own[start : start + 4]]
    for k, i in enumerate(own[start : start + 4]):
        noise = 2.0 * rng.normal()
        changed[i][column] = {
            "stuck": values[0],
            "noise": values[k] + noise,
            "away": values[k] + 2.0,
        }[kind]
    return changed, own[start + 3]


def test_the_column_that_was_changed_comes_first(series_scorer: Scorer, records: Records):
    """Of alarms that one planted change caused, whichever view sees it."""
    right, calm = [], series_scorer.score(records, explain=0)
    for column in ("pressure", "flow"):
        for kind in ("stuck", "noise", "away"):
            for seed in range(20):
                changed, row = planted(records, column, kind, seed)
                own = [r for r in changed[: row + 1] if r["machine"] == changed[row]["machine"]]
                verdict = series_scorer.score(own[-SIZE:])[-1]
                if not verdict.is_anomaly or calm.is_anomaly[row]:
                    continue
                right.append(bool(verdict.reasons) and verdict.reasons[0].column == column)
    assert len(right) > 15
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("value", [9.0, 90.0])
def test_a_column_that_is_far_out_for_all_of_a_window_is_the_reason(
    series_scorer: Scorer, records: Records, value: float
):
    """The VAE follows what is far out for as long: so the column is left blank, too."""
    verdicts = series_scorer.score([{**record, "pressure": value} for record in records])
    rows = np.flatnonzero(verdicts.is_anomaly)
    assert len(rows) > 100
    assert np.mean([worst(verdicts, row) == "pressure" for row in rows]) > 0.95
    expected = [verdicts.reasons[row][0].expected for row in rows[30:]]
    assert np.abs(expected).max() < 5


def test_missing_values_longer_than_a_window_are_scored(series_scorer: Scorer, records: Records):
    changed = [
        {**r, "flow": None, "pressure": None if i > 60 else r["pressure"]}
        for i, r in enumerate(records)
    ]
    verdicts = series_scorer.score(changed)
    assert np.isfinite(verdicts.score[verdicts.judged]).all()
    assert verdicts.score[120:].mean() > series_scorer.score(records).score[120:].mean()


def test_late_and_repeated_records_are_not_judged_and_change_no_others(
    series_scorer: Scorer, records: Records
):
    more = [
        *records[:90],
        dict(records[5], pressure=99.0),
        dict(records[89], pressure=99.0),
        *records[90:],
    ]
    verdicts = series_scorer.score(more)
    assert verdicts.history is not None
    assert verdicts.history[90] == "late" and verdicts.history[91] == "repeated"
    assert np.isnan(verdicts.score[90:92]).all() and not verdicts.is_anomaly[90:92].any()
    kept = [i for i in range(len(more)) if i not in (90, 91)]
    assert_same(verdicts.score[kept], series_scorer.score(records).score)


def numbers(n: int, width: int) -> Records:
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(n)[:, None] / 5 + np.arange(width)) + 0.1 * rng.normal(size=(n, width))
    return [
        {
            "ts": f"2026-01-01T{i // 60:02}:{i % 60:02}:00",
            **{f"c{k}": float(v) for k, v in enumerate(row)},
        }
        for i, row in enumerate(x)
    ]


CASES: dict[str, tuple[int, Records]] = {
    "two records": (2, numbers(300, 2)),
    "one number": (16, numbers(300, 1)),
    "hundreds of numbers": (4, numbers(200, 300)),
    "one category": (
        5,
        [{"ts": r["ts"], "a": "xyz"[i % 3]} for i, r in enumerate(numbers(200, 1))],
    ),
    "one constant": (5, [{"ts": r["ts"], "a": 1.0} for r in numbers(200, 1)]),
    "one boolean": (3, [{"ts": r["ts"], "a": i % 7 == 0} for i, r in enumerate(numbers(200, 1))]),
    "half of it missing": (
        4,
        [{**r, "c1": None if i % 2 else r["c1"]} for i, r in enumerate(numbers(200, 2))],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_records_of_any_shape_score_the_same_in_pieces(case: str, tmp_path: Any):
    size, given = CASES[case]
    settings = {k: v for k, v in SMALL.items() if k not in ("entity", "id", "window")}
    train(pl.DataFrame(given), tmp_path / "a", alpha=0.05, window=size, **settings)
    scorer = Scorer.load(tmp_path / "a")
    want = scorer.score(given)
    assert np.isnan(want.score).sum() == size - 1
    assert_same(in_pieces(scorer, given, list(range(1, len(given)))), want.score)
    assert want.is_anomaly.mean() < 0.05  # the fit data themselves, which the model has seen


def test_discoveries_are_refused_as_windows_overlap(series_scorer: Scorer, records: Records):
    verdicts = series_scorer.score(records, explain=0)
    for some in (verdicts, verdicts[verdicts.judged], verdicts[:0]):
        with pytest.raises(SettingError, match="windows that overlap share records, so their p-"):
            some.discoveries(0.1)
