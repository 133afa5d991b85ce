"""A record scores the same however it and those before it come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.scoring.series.made import SIZE, SMALL, telemetry
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.kept import history_key, pack_history, unpack_history
from vaewatch.scoring.table import table_of
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.train import train

Records = list[dict[str, Any]]


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


def test_reasons_add_up_to_the_part_of_the_reconstruction(series_scorer: Scorer, records: Records):
    changed = [dict(record) for record in records]
    changed[100]["pressure"], changed[110]["unit"] = 30.0, "psi"
    verdicts = series_scorer.score(changed, explain=100)
    assert verdicts.parts is not None
    checked = 0
    for row in np.flatnonzero(verdicts.judged):
        reasons = verdicts.reasons[row]
        total = sum(reason.contribution for reason in reasons)
        # a column that is as expected adds nothing worth a reason
        assert total <= verdicts.parts[row].reconstruction * (1 + 1e-5) + 1e-9
        parts = verdicts.parts[row]
        assert verdicts.score[row] == pytest.approx(
            parts.reconstruction + parts.kl + parts.neighbour, rel=1e-5
        )
        contributions = [reason.contribution for reason in reasons]
        assert contributions == sorted(contributions, reverse=True)
        checked += total > 0.9 * verdicts.parts[row].reconstruction > 0
    assert checked > 5


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
    settings = {k: v for k, v in SMALL.items() if k not in ("entity", "id", "window", "steps")}
    train(pl.DataFrame(given), tmp_path / "a", alpha=0.05, window=size, **settings)
    scorer = Scorer.load(tmp_path / "a")
    want = scorer.score(given)
    assert np.isnan(want.score).sum() == size - 1
    assert_same(in_pieces(scorer, given, list(range(1, len(given)))), want.score)
    assert want.is_anomaly.mean() < 0.05  # the fit data themselves, which the model has seen
