"""Numbers in each other's place: both are named, with what each should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

RECORD = {"neut": 60.0, "lymph": 28.0, "mono": 12.0, "age": 50, "pulse": 70.0}


@pytest.fixture(scope="module")
def blood(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Shares that add up to 100, and two columns that are none of them."""
    rng, n = np.random.default_rng(0), 3000
    lymph, mono = 28 + 4 * rng.normal(size=n), 10 + 2 * rng.normal(size=n)
    frame = pl.DataFrame({"lymph": lymph, "mono": mono}).with_columns(pl.all().round(1))
    frame = frame.select(
        neut=(100 - pl.col("lymph") - pl.col("mono")).round(1), lymph="lymph", mono="mono"
    )
    age = rng.integers(20, 80, n)
    frame = frame.with_columns(age=age, pulse=(60 + age / 5 + 3 * rng.normal(size=n)).round(1))
    out = tmp_path_factory.mktemp("blood") / "artifact"
    return train(frame, out, alpha=0.01, steps=300, report=False)


def reasons(scorer: Scorer, **changed: Any) -> list[tuple[str, Any, Any, float]]:
    found = scorer.score([{**RECORD, **changed}])[0].reasons
    return [(r.column, r.observed, r.expected, r.contribution) for r in found]


def test_two_shares_that_changed_places_are_both_named(blood: Scorer):
    swapped = {"neut": 28.0, "lymph": 60.0}
    one, other, *others = reasons(blood, **swapped)
    assert {one[:3], other[:3]} == {("neut", 28.0, 60.0), ("lymph", 60.0, 28.0)}
    assert not {"neut", "lymph"} & {reason[0] for reason in others}
    was, mended = (blood.score([{**RECORD, **own}])[0].score for own in (swapped, {}))
    assert one[3] == other[3] == pytest.approx(was - mended, rel=1e-4)


def test_at_most_as_many_reasons_as_asked_for(blood: Scorer):
    swapped = {**RECORD, "neut": 28.0, "lymph": 60.0}
    for most in (1, 2, 3):
        [verdict] = blood.score([swapped], explain=most)
        assert 1 <= len(verdict.reasons) <= most


@pytest.mark.parametrize("changed", [{"pulse": 150.0}, {"mono": 40.0}, {"neut": 82.0}])
def test_one_wrong_number_is_no_exchange(blood: Scorer, changed: dict[str, float]):
    found = reasons(blood, **changed)
    assert found[0][0] in changed
    held = {**RECORD, **changed}
    for column, _, expected, _ in found:
        assert expected not in [value for name, value in held.items() if name != column]


def test_an_exchange_explains_half_of_the_score_or_is_not_named(blood: Scorer):
    ring = {"neut": 12.0, "lymph": 60.0, "mono": 28.0}  # to exchange two leaves one wrong
    one, other = reasons(blood, **ring)
    score = blood.score([{**RECORD, **ring}])[0].score
    assert {one[0], other[0]} == {"neut", "lymph"} and score / 2 < one[3] == other[
        3
    ] < 0.95 * score
    swapped_too = reasons(blood, neut=28.0, lymph=60.0, pulse=150.0)
    assert [reason[0] for reason in swapped_too] == ["pulse"]
