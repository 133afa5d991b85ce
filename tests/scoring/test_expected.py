"""How many alarms chance explains: the law, its range, and the words at their edges."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom

from vaewatch.scoring.budget.calibration import Calibration, RateLaw
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.expected import CONFIDENCE, Expected, State, percent, shown


def exactly(chance: Chance) -> list[Fraction]:
    """The probability of each number of alarms: the definition, in whole numbers."""
    m, k, rest = chance.records, chance.k, chance.n + 1 - chance.k
    whole = comb(m + chance.n, m)
    return [
        Fraction(comb(x + k - 1, x) * comb(m - x + rest - 1, m - x), whole) for x in range(m + 1)
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 80), st.data())
def test_the_law_is_the_beta_binomial_to_the_last_digits(m: int, n: int, data: st.DataObject):
    chance = Chance(m, data.draw(st.integers(1, n)), n)
    law = exactly(chance)
    assert sum(law) == 1
    for x in range(m + 1):
        assert chance.at_most(x) == pytest.approx(float(sum(law[: x + 1])), rel=1e-9)
        assert chance.at_least(x) == pytest.approx(float(sum(law[x:])), rel=1e-9)
    assert (chance.at_most(-1), chance.at_least(m + 1)) == (0.0, 0.0)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 20), (50, 3, 402), (10_000, 134, 13_449)])
def test_it_is_that_of_scipy(m: int, k: int, n: int):
    law, chance = betabinom(m, k, n + 1 - k), Chance(m, k, n)
    found = [chance.at_most(x) for x in range(m + 1)]
    np.testing.assert_allclose(np.diff(found, prepend=0.0), law.pmf(range(m + 1)), 1e-5, 1e-12)
    for share in (0.005, 0.5, 0.995):
        assert chance.quantile(share) == int(law.ppf(share))


def test_so_many_records_leave_the_luck_of_the_calibration_alone():
    m = 10**12  # no array could hold a number for each
    low, high = (Chance(m, 100, 100_000).quantile(share) / m for share in (0.005, 0.995))
    np.testing.assert_allclose([low, high], beta(100, 99_901).ppf([0.005, 0.995]), rtol=1e-6)


def test_a_probability_that_is_tiny_keeps_its_digits():
    assert Chance(200, 1, 1000).at_least(150) == pytest.approx(
        float(sum(exactly(Chance(200, 1, 1000))[150:])), rel=1e-9
    )
    assert 0 < Chance(200, 1, 1000).at_least(150) < 1e-90


def test_the_range_covers_what_normal_records_bring():
    rng, n, m, alpha = np.random.default_rng(0), 399, 500, 0.02
    expected = Expected.of(RateLaw.of(alpha, n), m)
    held, total = 0, 0
    for _ in range(2000):
        calibration = Calibration(np.sort(rng.normal(size=n)), alpha, "split")
        alarms = int(calibration.alarms(calibration.p_values(rng.normal(size=m))).sum())
        held += expected.low <= alarms <= expected.high
        total += alarms
    assert held / 2000 >= CONFIDENCE - 0.006  # and not by less than three deviations
    assert total / 2000 == pytest.approx(expected.mean, rel=0.05)


def test_ties_and_cross_fitted_scores_give_bounds():
    scores = np.sort(np.random.default_rng(0).normal(size=999))
    split, crossed = (Expected.at(Calibration(scores, 0.01, r), 1000) for r in RULES)
    assert (split.bound, crossed.bound) == (False, True)
    assert crossed.low == 0 < split.low and crossed.high == split.high
    assert crossed.state(0) is State.WITHIN and split.state(0) is State.BELOW
    assert crossed.number.startswith("up to 10 (0 to ")
    tied = Calibration(np.sort(np.random.default_rng(0).integers(0, 30, 999) * 1.0), 0.05, "split")
    assert Expected.at(tied, 1000).bound


RULES = ("split", "cross-fitted")
TEN = Expected(1000, 10.0, 3, 20)
RARE = Expected(1000, 0.001, 0, 0)
WIDE = Expected(3332, 33.0, 0, 397)  # of windows, of which 42 are independent


@pytest.mark.parametrize(
    ("expected", "alarms", "words"),
    [
        (TEN, 37, "37 alarms, about 10 expected of normal traffic (3 to 20 by chance): "
                  "at most about 27% of them false (54% at worst), "
                  "if normal traffic is as it was"),
        (TEN, 21, "at most about 48% of them false (95% at worst), if"),
        (TEN, 20, "20 alarms, about 10 expected of normal traffic (3 to 20 by chance): "
                  "no more than chance explains"),
        (TEN, 3, "no more than chance explains"),
        (TEN, 2, "2 alarms, about 10 expected of normal traffic (3 to 20 by chance): "
                 "fewer than normal traffic brings"),
        (TEN, 0, "no alarms, about 10 expected"),
        (TEN, 2_000_000, "2,000,000 alarms, about 10 expected"),
        (TEN, 2_000_000, "at most 1% of them false, if"),
        (RARE, 0, "no alarms, about 0.001 expected of normal traffic (0 by chance): no more"),
        (RARE, 1, "1 alarm, about 0.001 expected of normal traffic (0 by chance): more than "
                  "chance explains"),
        (WIDE, 353, "353 alarms, about 33 expected of normal traffic (0 to 397 by chance): "
                    "more than expected, but too few independent records to tell it from chance"),
        (WIDE, 66, "66 alarms, about 33 expected of normal traffic (0 to 397 by chance): "
                   "no more than chance explains"),
        (WIDE, 398, "at most about 8% of them false (100% at worst), if"),
        (Expected(0, 0.0, 0, 0), 0, "no alarms: there were no records"),
    ],
)  # fmt: skip
def test_the_words_at_their_edges(expected: Expected, alarms: int, words: str):
    assert words in expected.words(alarms)


def test_the_share_of_false_alarms_is_a_bound():
    assert TEN.most_false(0) is None
    assert TEN.most_false(5) == 1.0
    assert (TEN.most_false(40), TEN.worst_false(40)) == (0.25, 0.5)
    assert (TEN.worst_false(0), TEN.worst_false(15)) == (None, 1.0)


def test_hardly_any_calibration_gives_more_false_alarms_than_the_worst_share():
    rng, worse, told = np.random.default_rng(1), 0, list[float]()
    for _ in range(2000):
        calibration = Calibration(np.sort(rng.normal(size=400)), 0.02, "split")
        scores = np.concatenate([rng.normal(size=1000), rng.normal(4, 1, 60)])
        alarm = calibration.alarms(calibration.p_values(scores))
        alarms, false = int(alarm.sum()), int(alarm[:1000].sum())
        expected = Expected.at(calibration, len(scores))
        worse += false / alarms > (expected.worst_false(alarms) or 0.0)
        told.append((expected.most_false(alarms) or 0.0) - false / alarms)
    assert worse / 2000 <= 0.005 + 3 * (0.005 / 2000) ** 0.5
    assert np.mean(told) > 0  # on average a bound


def test_numbers_are_shown_with_the_digits_that_count():
    assert [shown(x) for x in (0, 0.00123, 0.25, 9.96, 10.4, 12_345.6)] == [
        "0.0", "0.001", "0.2", "10.0", "10", "12,346",
    ]  # fmt: skip
    assert [percent(x) for x in (0.001, 0.01, 0.266, 1.0)] == [
        "1%", "about 1%", "about 27%", "about 100%",
    ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 2000), st.floats(0.001, 0.5), st.integers(0, 10**9))
def test_whatever_the_numbers_there_is_a_sentence(m: int, n: int, alpha: float, alarms: int):
    law = RateLaw.of(alpha, n)
    expected = Expected.of(law, m)
    assert 0 <= expected.low <= expected.high <= m
    assert expected.low - 1 <= expected.mean <= expected.high + 1
    assert expected.words(min(alarms, m))


def test_the_range_of_several_calibrations_together_covers_what_they_bring():
    rng, held, total = np.random.default_rng(2), 0, 0
    laws, records = [RateLaw.of(0.01, n) for n in (150, 150, 1200)], (5000, 100, 40)
    expected = Expected.together(list(zip(laws, records, strict=True)))
    for _ in range(4000):
        rates = [rng.beta(law.low, law.n + 1 - law.low) for law in laws]
        alarms = int(rng.binomial(records, rates).sum())
        held += expected.low <= alarms <= expected.high
        total += alarms
    assert held / 4000 >= CONFIDENCE - 3 * (0.01 / 4000) ** 0.5
    assert total / 4000 == pytest.approx(expected.mean, rel=0.05)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 2000)), max_size=9),
       st.floats(0.001, 0.5))  # fmt: skip
def test_laws_together_have_the_sum_of_their_means(parts: list[tuple[int, int]], alpha: float):
    laws = [(RateLaw.of(alpha, n), m) for m, n in parts]
    expected = Expected.together(laws)
    assert expected.mean == pytest.approx(sum(Expected.of(*each).mean for each in laws))
    assert 0 <= expected.low <= expected.high <= expected.records == sum(m for m, _ in parts)
    assert expected.low - 1 <= expected.mean <= expected.high + 1


def test_one_law_together_is_itself():
    law = RateLaw.of(0.01, 999)
    assert Expected.together([(law, 500)]) == Expected.of(law, 500)
