"""The edges of what a column's numbers may be: which are found, and what lies beyond."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.training.test_limits import OPEN, fitted, unseen
from tests.training.test_relations import table_of_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.train import train
from vaewatch.training.unseen.edges import MISSING, NEAR, edges_of
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.limits import UNITS
from vaewatch.training.unseen.order import TENTHS

Numbers = NDArray[np.float64]
Rng = np.random.Generator

LAWS: dict[str, tuple[Callable[[Rng, int], Numbers], float, float]] = {
    "ages": (lambda rng, n: np.floor(rng.uniform(18, 90, n)), 17.0, 92.0),
    "per cent": (lambda rng, n: 100 - rng.exponential(8, n).clip(0, 90), 0.0, 100.5),
    "shares": (lambda rng, n: rng.beta(1, 1, n).round(3), -0.05, 1.05),
    "charged": (lambda rng, n: rng.normal(90, 12, n).clip(5, 100), 0.0, 100.01),
    "degrees": (lambda rng, n: rng.uniform(-180, 180, n), -185.0, 185.0),
    "prices": (lambda rng, n: rng.lognormal(3, 1, n).round(2), -1.0, 1e9),
    "year of a car": (lambda rng, n: 2024 - np.floor(rng.exponential(6, n)), 1900.0, 2025.0),
}


def ends(values: Numbers) -> tuple[float, float]:
    """The edges of values in the order of their records."""
    return edges_of(values, values)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [2500, 20_000])
def test_what_lies_beyond_an_edge_is_unseen(law: str, n: int):
    draw, below, above = LAWS[law]
    for seed in range(3):
        values = draw(np.random.default_rng(seed), n)
        vectorizer = fitted(values)
        assert unseen(vectorizer, values.min(), values.max()) == [False, False]
        assert unseen(vectorizer, above) == [True]
        if below > 0 and law == "ages":
            assert unseen(vectorizer, below) == [True]


@pytest.mark.parametrize("law", OPEN)
@pytest.mark.parametrize("n", [500, 1000, 5000, 30_000])
def test_a_tail_that_thins_out_has_no_edge(law: str, n: int):
    rng = np.random.default_rng(n)
    found = [ends(OPEN[law](rng, n)) for _ in range(200 if n < 5000 else 40)]
    assert sum(edges != (-math.inf, math.inf) for edges in found) <= 2


@pytest.mark.parametrize("law", LAWS)
def test_fresh_values_hardly_ever_lie_beyond(law: str):
    draw, beyond, fresh = LAWS[law][0], 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        low, high = ends(draw(rng, 600))
        later = draw(rng, 5000)
        beyond += int(np.count_nonzero((later < low) | (later > high)))
        fresh += len(later)
    assert beyond / fresh < 1e-4


def slow_edge(values: Numbers) -> float:
    """The limit above, value by value."""
    n, largest = len(values), max(values.tolist())
    k = 100 if n < 1000 else min(n // 10, 1000)
    next_to = sorted(largest - value for value in values.tolist())[: k + 1]
    by = [next_to[k] - distance for distance in next_to[:k]]
    missing = k * math.exp(-next_to[k] * k / sum(by)) if sum(by) else k * (next_to[k] == 0)
    apart = max(next_to[k] / k, next_to[10] / 10)
    near = [largest - value <= next_to[k] for value in values.tolist()]
    visits = sum(one and not before for before, one in zip([False, *near], near, strict=False))
    if n < 500 or missing * visits / sum(near) < MISSING:
        return math.inf
    for part in np.array_split(values, TENTHS):
        if largest - part.max() > NEAR * TENTHS * next_to[k] / k:
            return math.inf
    return largest + UNITS * apart


@pytest.mark.parametrize("law", sorted({*LAWS, *OPEN}))
def test_the_edge_is_what_a_slow_derivation_gives(law: str):
    draw = LAWS[law][0] if law in LAWS else OPEN[law]
    for n in (499, 500, 3000, 20_000):
        values = draw(np.random.default_rng(n), n)
        low, high = ends(values)
        rounded = 2e-3 * np.abs(values).max()  # a limit is never within float16 of a value
        assert high == pytest.approx(slow_edge(values), abs=rounded)
        assert low == pytest.approx(-slow_edge(-values), abs=rounded)


def test_what_grows_with_time_has_no_edge():
    """A counter ends everywhere; the same numbers in any order end at their last one."""
    counter = np.arange(3000.0)
    assert ends(counter) == (-math.inf, math.inf)
    low, high = ends(np.random.default_rng(0).permutation(counter))
    assert -25 < low < 0 and 2999 < high < 3024
    at = np.datetime64("2026-01-01T00:00") + np.arange(3000) * np.timedelta64(1, "h")
    order = np.random.default_rng(0).permutation(3000)
    frame = pl.DataFrame({"at": at.astype(str), "count": counter, "x": counter % 7})[order]
    for time, found in ((None, True), ("at", False)):
        table = table_of_frame(frame if time else frame.drop("at"), time=time)
        assert (fit_vectorizer(table).limits["count"][1] < 3100) == found
    each = frame.with_columns(machine=pl.Series(order % 3).cast(pl.String) + "m")
    table = table_of_frame(each, time="at", entity="machine", window=8)
    assert fit_vectorizer(table).limits["count"][1] > 3100  # by time, whatever the machines


def test_what_lasts_at_its_end_has_come_there_once():
    """A valve that is open for an hour at a time, and may be opened farther one day."""
    state = np.random.default_rng(0).choice([0.0, 20.0, 50.0], 90)
    assert ends(np.repeat(state, 30)) == (-math.inf, math.inf)
    low, high = ends(np.random.default_rng(1).permutation(np.repeat(state, 30)))
    assert low == pytest.approx(0) and high == pytest.approx(50)


def test_a_fit_record_beyond_the_edge_of_all_others_is_unseen_to_them():
    rng = np.random.default_rng(1)
    n = 2500
    at = np.arange(n)
    age = np.floor(rng.uniform(18, 90, n))
    frame = pl.DataFrame(
        {
            "age": np.where(at == 5, 4.0, age),
            "share": np.where(at == 9, 1.2, rng.random(n)),
            "size": rng.normal(9, 1, n),
        }
    )
    table = table_of_frame(frame)
    got = unseen_by_others(table)
    for i in (0, 5, 9, 77):
        others = fit_vectorizer(table.take(np.delete(at, i)))
        assert others.transform(table.take(np.array([i]))).unseen[0].sum() == got[i]
    assert {5, 9} <= set(np.flatnonzero(got).tolist())


def test_an_age_of_four_among_adults_alarms(tmp_path: Path):
    rng = np.random.default_rng(0)

    def visits(n: int) -> pl.DataFrame:
        age = np.floor(rng.uniform(18, 80, n))
        return pl.DataFrame(
            {
                "age": age,
                "pressure": np.round(100 + 0.5 * age + rng.normal(0, 9, n)),
                "ward": rng.choice(list("ABCD"), n),
            }
        )

    train(visits(3000), tmp_path / "a", alpha=0.01, report=False, steps=300, seed=0)
    scorer = Scorer.load(tmp_path / "a")
    children = visits(100).with_columns(age=pl.lit(4.0))
    verdicts = scorer.score(children, explain=1)
    assert verdicts.is_anomaly.all()
    assert {reasons[0].column for reasons in verdicts.reasons} == {"age"}
    assert scorer.score(visits(4000), explain=0).is_anomaly.mean() < 0.02
