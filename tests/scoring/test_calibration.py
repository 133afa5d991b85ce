"""The alarm budget: p-values, the exact law, and what n records can certify."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta

from vaewatch.scoring.budget.calibration import (
    FEW,
    Calibration,
    RateLaw,
    allowed_rank,
    check_alpha,
    records_for_precision,
    records_needed,
    severity,
)
from vaewatch.scoring.budget.described import describe
from vaewatch.scoring.errors import CalibrationError, SettingError
from vaewatch.training.calibration.calibrate import calibrate

finite = st.floats(min_value=-1e6, max_value=1e6)


@given(st.lists(finite, min_size=1, max_size=60), st.lists(finite, min_size=1, max_size=20))
def test_p_values_match_a_loop(calibration: list[float], scores: list[float]):
    law = Calibration(np.sort(calibration), 0.9, "split")
    got = law.p_values(np.array(scores))
    for score, p in zip(scores, got, strict=True):
        at_least = sum(c + 1e-5 * max(abs(c), 1) >= score for c in calibration)
        assert p == (1 + at_least) / (len(calibration) + 1)
    np.testing.assert_array_equal(law.p_values(np.repeat(scores, FEW + 1)), got.repeat(FEW + 1))


@given(st.lists(finite, min_size=20, max_size=60), finite, finite)
def test_a_higher_score_never_has_a_higher_p_value(calibration: list[float], a: float, b: float):
    low, high = sorted((a, b))
    p = calibrate(np.array(calibration), 0.1, "split").p_values(np.array([low, high]))
    assert p[1] <= p[0]


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01])
def test_the_budget_holds_on_exchangeable_scores(alpha: float):
    rng = np.random.default_rng(0)
    n, m, rounds = 199, 500, 200
    rates = []
    for _ in range(rounds):
        law = calibrate(rng.standard_t(3, n), alpha, "split")
        rates.append(np.mean(law.p_values(rng.standard_t(3, m)) <= alpha))
    exact = allowed_rank(alpha, n) / (n + 1)
    assert abs(np.mean(rates) - exact) < 4 * np.sqrt(
        exact * (1 - exact) * (1 / m + 1 / n) / rounds
    )


def test_equal_scores_never_alarm():
    law = calibrate(np.full(1000, 3.0), 0.01, "split")
    assert law.p_values(np.array([3.0, 3.0 + 1e-6, 2.0])).tolist() == [1.0, 1.0, 1.0]


@given(st.integers(1, 5000), st.integers(1, 99))
def test_the_rank_agrees_with_the_verdict(n: int, percent: int):
    alpha = percent / 100
    k = allowed_rank(alpha, n)
    assert k / (n + 1) <= alpha < (k + 1) / (n + 1)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
@example((1944, 3))  # 3 * (1 / 1945) is a little less than 3 / 1945, and yet times 1945 it is 3
def test_law_threshold_and_verdicts_agree_where_alpha_is_a_rank(drawn: tuple[int, int]):
    n, k = drawn
    law = Calibration(np.arange(1.0, n + 1), 0.9, "split")
    for alpha in (k * (1 / (n + 1)), k / (n + 1)):
        alarms = sum(rank / (n + 1) <= alpha for rank in range(1, n + 1))
        assert np.count_nonzero(law.alarms(law.p_value_of[1:], alpha)) == alarms
        assert allowed_rank(alpha, n) == RateLaw.of(alpha, n).high == alarms
        assert law.threshold(alpha) == (n + 1 - alarms if alarms else None)
        if alarms:
            assert law.rate_law(alpha) == RateLaw(n, alarms, alarms)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01, 0.001, 1e-4, 1 / 3, 0.29, 1 / 49])
def test_the_needed_records_are_just_enough(alpha: float):
    n = records_needed(alpha)
    check_alpha(alpha, n)
    with pytest.raises(CalibrationError, match=f"takes at least {n:,} calibration records"):
        check_alpha(alpha, n - 1)


@given(st.integers(1, 10**6))
def test_the_alpha_that_an_error_offers_is_allowed(n: int):
    with pytest.raises(CalibrationError) as caught:
        check_alpha(1e-9, n)
    check_alpha(float(str(caught.value).split("ask for alpha ")[1].split(" or more")[0]), n)


@pytest.mark.parametrize("alpha", [0.0, 5e-324, 1.0, -1.0, 2.0, float("nan")])
def test_an_alpha_outside_0_and_1_is_refused(alpha: float):
    with pytest.raises(SettingError, match="must be at least 1e-09 and below 1"):
        check_alpha(alpha, 100)


def test_the_threshold_shown_is_where_verdicts_turn():
    scores = np.random.default_rng(1).normal(size=500)
    law = calibrate(scores, 0.05, "split")
    threshold = law.threshold(0.05)
    assert threshold is not None
    above, below = threshold + 1e-3, threshold - 1e-3
    assert law.p_values(np.array([above]))[0] <= 0.05 < law.p_values(np.array([below]))[0]
    assert law.threshold(0.001) is None


def test_the_interval_is_the_law_of_the_true_rate():
    rng = np.random.default_rng(2)
    alpha, n = 0.05, 199
    uniform = np.sort(rng.random((20_000, n)), axis=1)
    true_rates = 1 - uniform[:, n - allowed_rank(alpha, n)]
    low, high = RateLaw.of(alpha, n).interval()
    assert np.mean((true_rates >= low) & (true_rates <= high)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("ratio", "k"),
    [
        (0.8, 1),  # where scores that do not tie in a calibration tie in traffic
        (0.5, 50),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in product((0.5, 0.8, 1.0), (1, 5, 50))
            if each not in ((0.8, 1), (0.5, 50))
        ),
    ],
)
def test_with_ties_the_interval_covers_the_rate_that_is_reached(k: int, ratio: float):
    """Scores have a few values; the true rate is the probability of those above the threshold."""
    rng, n = np.random.default_rng(4), 999
    alpha, values = k / 1000, np.arange(30.0)
    shares = ratio**values / np.sum(ratio**values)
    held, steps = [], 0
    for _ in range(2000):
        law = calibrate(rng.choice(values, n, p=shares), alpha, "split")
        alarming = law.alarms(law.p_values(values))
        true = float(shares[alarming].sum())
        low, high = law.rate_law().interval()
        held.append(low - 1e-12 <= true <= high + 1e-12)
        if step := law.step():
            steps += 1
            assert step.rate <= alpha + 1e-3 and step.above >= alpha - 1e-3
    assert np.mean(held) >= 0.93  # 95%, and three deviations
    assert steps


def test_out_of_bag_scores_bound_the_rate_from_above_alone():
    scores = np.random.default_rng(0).normal(size=200)
    low, high = calibrate(scores, 0.05, "cross-fitted").rate_law().interval()
    assert low == 0.0 and high == calibrate(scores, 0.05, "split").rate_law().interval()[1]


@pytest.mark.parametrize(("alpha", "n"), [(0.01, 99), (0.05, 238), (0.01, 13_449), (0.5, 60_000)])
def test_the_interval_is_that_of_scipy(alpha: float, n: int):
    k = allowed_rank(alpha, n)
    wanted = beta.ppf([0.005, 0.995], k, n + 1 - k)
    np.testing.assert_allclose(RateLaw.of(alpha, n).interval(0.99), wanted, rtol=1e-8)


def test_the_records_suggested_give_the_precision_promised():
    n = records_for_precision(0.01, relative=0.2)
    low, high = beta.ppf([0.025, 0.975], allowed_rank(0.01, n), n + 1 - allowed_rank(0.01, n))
    assert 0.0079 < low and high < 0.0121


def test_severity_counts_zeros():
    np.testing.assert_allclose(severity(np.array([1.0, 0.01, 0.001])), [0, 2, 3])
    assert not np.signbit(severity(np.array([1.0])))[0]  # "-0.0" in a file


def test_the_summary_shows_common_alphas_and_the_asked_one():
    summary = describe(calibrate(np.arange(500.0), 0.02, "cross-fitted"))
    assert list(summary.thresholds) == ["0.05", "0.01", "0.001", "0.02"]
    assert summary.thresholds["0.001"] is None


def test_a_p_value_of_alpha_is_an_alarm_and_the_next_one_is_not():
    law = Calibration(np.arange(99.0), 0.05, "split")
    p = law.p_value_of
    assert law.alarms(p).tolist() == [value <= 0.05 for value in p.tolist()]
    assert int(law.alarms(p).sum()) == 5  # 0.01 to 0.05
    assert int(law.alarms(p, 0.1).sum()) == 10


def test_no_alpha_is_named_where_there_are_no_records():
    with pytest.raises(CalibrationError, match=r"got 0\. Give more normal records\.$"):
        check_alpha(0.01, 0)
