"""The law of the alarms that several calibrations bring: against scipy, and by drawing them."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.chances import LEAST, Chances
from vaewatch.scoring.budget.expected import TAIL, Expected


def convolved(parts: list[Chance]) -> np.ndarray:
    """The probability of each sum, in full, of laws that are not fixed."""
    masses = [
        betabinom(each.records, each.k, each.n + 1 - each.k).pmf(np.arange(each.records + 1))
        for each in parts
    ]
    return reduce(np.convolve, masses, np.ones(1))


def part(drawn: tuple[int, int, int]) -> Chance:
    records, n, k = drawn
    return Chance(records, min(k, n), n)


PARTS = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 400), st.integers(1, 400)).map(part),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(PARTS, st.integers(0, 1500), st.sampled_from([0.001, 0.005, 0.3, 0.5, 0.995, 0.9999]))
def test_the_law_of_a_sum_is_the_convolution(parts: list[Chance], alarms: int, share: float):
    masses, law = convolved(parts), Chances(tuple(parts))
    assert law.at_least(alarms) == pytest.approx(masses[alarms:].sum(), rel=1e-6, abs=2 * LEAST)
    assert law.at_least(law.records + 1) == 0
    at_most, found = masses.cumsum(), law.quantile(share)
    assert at_most[found] >= share - 1e-9
    assert found == 0 or at_most[found - 1] < share + 1e-9


def test_laws_that_are_fixed_shift_the_others():
    one = Chance(200, 3, 150)
    fixed = [Chance(40, 0, 9), Chance(7, 10, 9), Chance(0, 2, 30)]  # no alarms, all 7, and none
    law = Chances((one, *fixed))
    for share in (0.005, 0.5, 0.995):
        assert law.quantile(share) == one.quantile(share) + 7
    assert Chances(tuple(fixed)).quantile(0.005) == Chances(tuple(fixed)).quantile(0.995) == 7
    assert Chances(()).quantile(0.5) == 0


def test_the_skewness_of_a_small_calibration_is_in_the_range():
    """With the mean and the variance alone, 1.4% were above where 0.5% was said."""
    laws = [(RateLaw.of(0.01, 100), 2000), (RateLaw.of(0.01, 20_000), 10_000)]
    expected = Expected.together(laws)
    masses = convolved([Chance(m, law.high, law.n) for law, m in laws])
    for number, share in ((expected.low, TAIL), (expected.high, 1 - TAIL)):
        assert masses[: number + 1].sum() >= share > masses[:number].sum()
    assert masses[expected.high + 1 :].sum() == pytest.approx(TAIL, rel=0.05)


@pytest.mark.parametrize(
    "sizes",
    [
        ((10**6, 100), (5 * 10**7, 20_000), *[(1000, 300)] * 5),
        ((10**6, 3000), *[(1000, 100)] * 40),
        ((10**6, 100), *[(3, 100)] * 60),
        ((1000, 100),) * 100,
    ],
    ids=["large", "small beside large", "tiny beside large", "many"],
)
def test_a_long_range_is_kept_on_a_grid(sizes: tuple[tuple[int, int], ...]):
    rng, draws = np.random.default_rng(4), 200_000
    parts = [Chance(records, max(1, (n + 1) // 100), n) for records, n in sizes]
    law, total = Chances(tuple(parts)), np.zeros(draws, np.int64)
    for each in parts:
        total += rng.binomial(each.records, rng.beta(each.k, each.n + 1 - each.k, draws))
    slack = 3 * (TAIL / draws) ** 0.5 + 0.1 * TAIL
    low, high = law.quantile(TAIL), law.quantile(1 - TAIL)
    assert np.mean(total > high) == pytest.approx(TAIL, abs=slack)
    assert np.mean(total < low) <= TAIL + slack and np.mean(total <= low) >= TAIL - slack
    assert law.at_least(high) == pytest.approx(TAIL, rel=0.1)
