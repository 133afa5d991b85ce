"""Numbers that differ by ratios: what is far below them, and which columns are none."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.test_limits import OPEN, fitted, unseen
from vaewatch.training.unseen.ratios import floor_of

Numbers = NDArray[np.float64]
Rng = np.random.Generator

WAGES: dict[str, Callable[[Rng, int], Numbers]] = {
    "wages": lambda rng, n: np.round(50 + rng.lognormal(6, 0.8, n), 2),
    "sizes": lambda rng, n: rng.lognormal(4, 1.3, n),
    "delays": lambda rng, n: 1 + rng.pareto(1.2, n) * 20,
}


@pytest.mark.parametrize("law", WAGES)
@pytest.mark.parametrize("n", [800, 20_000])
def test_none_at_all_and_a_thousandth_are_unseen(law: str, n: int):
    for seed in range(4):
        values = WAGES[law](np.random.default_rng(seed), n)
        vectorizer = fitted(values)
        least = float(values.min())
        again = [least, float(np.float32(least)), float(np.float16(least))]
        assert unseen(vectorizer, 0.0, 1e-4 * least) == [True, True]
        assert not any(unseen(vectorizer, *again, 0.99 * least))


def test_the_least_may_come_back_where_most_values_are_it():
    """Its logarithm is rounded."""
    rng = np.random.default_rng(0)
    for least in rng.uniform(0.01, 50, 200).tolist():
        values = np.where(rng.random(800) < 0.7, least, least * rng.pareto(1, 800) * 30 + least)
        assert floor_of(values) <= least


@pytest.mark.parametrize("law", OPEN)
@pytest.mark.parametrize("n", [500, 5000])
def test_what_only_happens_to_be_positive_is_hardly_ever_below_a_floor(law: str, n: int):
    rng = np.random.default_rng(n)
    found = [floor_of(OPEN[law](rng, n)) for _ in range(100)]
    assert sum(int((OPEN[law](rng, n) < floor).sum()) for floor in found) <= 3


def lab(rng: Rng, n: int) -> Numbers:
    return np.round(2 + rng.lognormal(1.6, 0.35, n), 1)


def test_a_mistaken_unit_is_unseen_where_all_are_far_from_zero():
    for seed in range(4):
        values = lab(np.random.default_rng(seed), 6000)
        vectorizer, least = fitted(values), float(values.min())
        far = (0.0, -0.1, 0.001 * float(np.median(values)), 0.009 * least)
        assert unseen(vectorizer, *far) == [True] * 4
        assert not any(unseen(vectorizer, least, 0.5 * least, 0.1 * least))


def test_the_floor_near_zero_is_what_a_slow_derivation_gives():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        values = rng.normal(rng.uniform(3, 12), 1, 2000)
        ascending = sorted(values.tolist())
        k, least = 30, ascending[0]
        unit = sum(ascending[k] - value for value in ascending[:k]) / k
        below = k * (1 + (ascending[k] - least / 100) / (k * unit)) ** -k
        floor = floor_of(values)
        if least > 0 and below <= 0.05:
            assert floor == pytest.approx(least / 100, rel=1e-3)
        else:
            assert floor == -math.inf


def test_zero_is_near_to_counts_and_to_what_came_low_at_some_times_only():
    rng = np.random.default_rng(0)
    rooms = 1 + rng.binomial(4, 0.2, 3000).astype(float)
    assert floor_of(rooms) == -math.inf
    assert floor_of(lab(rng, 3000)) > 0
    assert floor_of(np.sort(lab(rng, 3000))[::-1]) == -math.inf


def test_zeros_and_negative_numbers_leave_none():
    values = WAGES["sizes"](np.random.default_rng(0), 2000)
    assert floor_of(values) > 0
    for other in (0.0, -1.0):
        assert floor_of(np.append(values, other)) == -math.inf
    assert floor_of(values[:499]) == -math.inf


def test_what_rounding_may_make_zero_is_not_unseen():
    """Of 500 waits to a hundredth often none is below 0.005, but one of 600 is."""
    found = [
        np.round(np.random.default_rng(seed).exponential(3, 500), 2).clip(0.01)
        for seed in range(50)
    ]
    assert [floor_of(values) for values in found] == [-math.inf] * 50


def test_what_is_low_at_some_times_only_leaves_none():
    """A file in order of the column: what comes next is lower than all of it."""
    values = WAGES["sizes"](np.random.default_rng(0), 2000)
    assert floor_of(np.sort(values)) == floor_of(np.sort(values)[::-1]) == -math.inf


@pytest.mark.parametrize("law", WAGES)
def test_the_floor_is_what_a_slow_derivation_gives(law: str):
    values = WAGES[law](np.random.default_rng(5), 3000)
    logs = sorted(math.log(value) for value in values.tolist())
    tail = sum(logs[30] - own for own in logs[:30]) / 30
    below = max(10 * tail, (logs[1499] + logs[1500]) / 2 - logs[0])
    assert floor_of(values) == pytest.approx(math.exp(logs[0] - below), rel=1e-3)


@pytest.mark.parametrize("law", WAGES)
def test_fresh_numbers_are_hardly_ever_below(law: str):
    below = fresh = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        floor = floor_of(WAGES[law](rng, 600))
        later = WAGES[law](rng, 5000)
        below += int(np.count_nonzero(later < floor))
        fresh += len(later)
    assert below / fresh < 1e-4
