"""Each segment's calibration, and the pooled one, follow the law that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, kstest, norm

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.training.config import TrainConfig
from vaewatch.training.split.segments import hold_out_segments
from vaewatch.training.split.split import Split, split_later, split_records

SHARES, SPREADS = (0.8, 0.15, 0.05), np.array([1.0, 3.0, 0.4])
N, ALPHA = 3000, 0.1


def drawn(seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Records of three segments that spread very differently."""
    rng = np.random.default_rng([seed, 17])
    groups = rng.choice(3, N, p=SHARES)
    return groups, rng.normal(size=N) * SPREADS[groups]


def held_out(groups: NDArray[np.int64], seed: int) -> Split:
    split = split_records(N, 2, TrainConfig(alpha=ALPHA, seed=seed))
    return hold_out_segments(split, groups, TrainConfig(alpha=ALPHA, seed=seed))


def quantile(rates: NDArray[np.float64], rate: float, n: int) -> float:
    """Where the true rate lies in the law of n calibration records: uniform, if it holds."""
    k = allowed_rank(ALPHA, n)
    return float(beta.cdf(rate, k, n + 1 - k))


def true_rates(scores: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """The rate of each segment above the threshold of some calibration scores |x - middle|."""
    k = allowed_rank(ALPHA, len(scores))
    threshold = np.sort(scores)[len(scores) - k]
    return np.asarray(
        norm.sf((middle + threshold) / SPREADS) + norm.cdf((middle - threshold) / SPREADS)
    )


def laws(seed: int) -> tuple[float, float, list[float]]:
    """Quantiles of the pooled rate, of that of all held-out records together, and of each own."""
    groups, x = drawn(seed)
    split = held_out(groups, seed)
    middle = float(x[split.fit].mean())  # what is learned depends on the fit records alone
    scores = np.abs(x - middle)

    def of_all(rows: NDArray[np.int64]) -> float:
        rates = true_rates(scores[rows], middle)
        return quantile(rates, float(rates @ SHARES), len(rows))

    own = []
    for group in range(3):
        rows = split.own[groups[split.own] == group]
        rates = true_rates(scores[rows], middle)
        own.append(quantile(rates, float(rates[group]), len(rows)))
    return of_all(split.held_out), of_all(split.unfitted), own


def test_the_own_and_the_pooled_calibrations_follow_their_laws():
    """Of 600 splits. All held-out records together do not: small segments count too often."""
    pooled, together, own = zip(*map(laws, range(600)), strict=True)
    assert kstest(pooled, "uniform").pvalue > 0.01
    for group in range(3):
        assert kstest([each[group] for each in own], "uniform").pvalue > 0.01
    assert kstest(together, "uniform").pvalue < 1e-6


def test_of_each_segment_as_many_are_held_out_as_its_size_and_alpha_take():
    groups, _ = drawn(0)
    split = held_out(groups, 0)
    pooled = split_records(N, 2, TrainConfig(alpha=ALPHA))
    assert np.array_equal(split.held_out, pooled.held_out)  # the same uniform sample
    for group in range(3):
        own, records = (groups[split.own] == group).sum(), (groups == group).sum()
        assert own % 10 == 0 and records / 8 - 10 <= own <= records / 4
    assert not set(split.fit) & set(split.unfitted)
    assert len(split.fit) + len(split.unfitted) == N


@pytest.mark.parametrize("seed", range(5))
def test_a_segment_that_cannot_certify_alpha_keeps_its_records_for_the_fit(seed: int):
    groups = np.where(np.arange(N) < 20, 1, 0)
    split = held_out(groups, seed)
    assert not (groups[split.own] == 1).any()
    missing = np.where(groups == 1, -1, groups)
    assert (missing[held_out(missing, seed).own] == 0).all()


def test_without_held_out_records_none_are_held_out_of_segments():
    groups = np.arange(60) % 2
    split = split_records(60, 2, TrainConfig(alpha=0.01, members=4))
    assert hold_out_segments(split, groups, TrainConfig(alpha=0.01)) is split


def test_where_a_fit_is_continued_only_new_records_calibrate_segments():
    groups, known = np.arange(4000) % 2, np.arange(4000) < 2000
    config = TrainConfig(alpha=ALPHA)
    split = hold_out_segments(split_later(known, config), groups, config, known)
    assert not known[split.unfitted].any()
    assert all(250 <= (groups[split.own] == group).sum() <= 500 for group in (0, 1))


@pytest.mark.parametrize("seed", range(5))
def test_a_segment_that_comes_in_a_short_time_is_held_out_of_too(seed: int):
    """Blocks of time may have none of it, as of twelve experiments in turn."""
    n, config = 600, TrainConfig(alpha=0.01, seed=seed, time="at")
    groups = np.repeat(np.arange(12), n)
    times = np.arange(len(groups)) * 1_000_000
    split = hold_out_segments(
        split_records(len(groups), 8, config, times), groups, config, times=times
    )
    held = np.bincount(groups[split.held_out], minlength=12)
    own = np.bincount(groups[split.own], minlength=12)
    assert held.min() == 0 and own.min() >= 100
    assert not np.isin(split.own, split.fit).any()


def test_a_segment_in_all_of_time_is_held_out_of_as_without_one():
    config = TrainConfig(alpha=0.1, seed=3, time="at")
    groups, times = np.arange(N) % 3, np.arange(N) * 1_000_000
    split = split_records(N, 2, config, times)
    assert len(hold_out_segments(split, groups, config, times=times).own) == len(
        hold_out_segments(split, groups, config).own
    )
