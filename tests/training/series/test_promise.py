"""What a budget of neighbouring windows is worth, against closed forms and counts."""

from __future__ import annotations

import numpy as np
import pytest

from vaewatch.scoring.budget.calibration import CROSS_FITTED
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.promise import Counting, alpha_for, independent_blocks
from vaewatch.scoring.series.window import Window
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.series.promise import incidents_interval

MINUTE = 60 * 10**6
WINDOW = Window(10, 100 * MINUTE, MINUTE)


def autoregressive(n: int, rho: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = rng.normal()
    steps = rng.normal(size=n) * np.sqrt(1 - rho**2)
    for t in range(1, n):
        x[t] = rho * x[t - 1] + steps[t]
    return x


def rank_time(rho: float) -> float:
    """The integrated autocorrelation time of the ranks of a Gaussian AR(1): the correlation of
    ranks is 6 / pi * asin(r / 2) of that of the values (Pearson, 1907).
    """
    lags = rho ** np.arange(1, 10_000)
    return float(1 + 2 * (6 / np.pi * np.arcsin(lags / 2)).sum())


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.97])
def test_blocks_are_those_of_an_autoregressive_series(rho: float):
    n = 40_000
    scores = autoregressive(n, rho, seed=3)
    blocks = independent_blocks(scores, np.zeros(n, np.int64))
    assert blocks == pytest.approx(n / rank_time(rho), rel=0.2)
    # only the order of the scores counts
    assert independent_blocks(np.exp(3 * scores), np.zeros(n, np.int64)) == blocks


def test_scores_on_both_sides_of_a_break_are_no_neighbours():
    """Stretches of 50, each with a level of its own, are no more blocks than stretches; what lies
    beyond a stretch is taken to be like what lies in it.
    """
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.normal(size=200), 50)
    scores = levels + 1e-3 * rng.normal(size=10_000)
    stretches = np.repeat(np.arange(200), 50)
    assert 100 <= independent_blocks(scores, stretches) <= 200


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_a_few_scores_are_at_least_one_block(n: int):
    for scores in (np.arange(n, dtype=float), np.zeros(n)):
        assert 1 <= independent_blocks(scores, np.zeros(n, np.int64)) <= n


def test_many_stretches_of_one_score_are_as_many_blocks():
    scores = np.random.default_rng(0).normal(size=500)
    assert independent_blocks(scores, np.arange(500)) == 500


def counted(alarms: list[tuple[str, int]], size: int) -> int:
    """Incidents by a loop: an alarm begins one unless its entity had one within a window."""
    last: dict[str, int] = {}
    found = 0
    for entity, moment in sorted(alarms, key=lambda alarm: alarm[1]):
        found += entity not in last or moment - last[entity] > size * MINUTE
        last[entity] = moment
    return found


def counting(
    scores: np.ndarray, moments: np.ndarray, entities: list[str] | None = None
) -> Counting:
    return Counting(calibrate(scores, 0.01, CROSS_FITTED), scores, entities, moments, WINDOW)


@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.01])
def test_incidents_are_those_of_a_loop_over_alarms(alpha: float):
    n = 3000
    rng = np.random.default_rng(1)
    entities = [f"e{i}" for i in rng.integers(0, 3, n)]
    moments = np.sort(rng.integers(0, n, n)) * MINUTE
    scores = autoregressive(n, 0.8, seed=2)
    got = counting(scores, moments, entities)
    cut = np.sort(scores)[::-1][int(alpha * (n + 1)) - 2]
    alarms = [(e, int(m)) for e, m, s in zip(entities, moments, scores, strict=True) if s >= cut]
    assert got.count(alpha) == counted(alarms, 10)
    assert got.per_day(alpha) == pytest.approx(counted(alarms, 10) / (n / 1440))


def test_alpha_for_incidents_is_the_largest_of_which_no_more_are_expected():
    """One more than were counted, as in a p-value."""
    n = 20_000
    found = counting(autoregressive(n, 0.9, seed=4), np.arange(n) * MINUTE)
    alpha, days = alpha_for(5.0, found), n / 1440
    assert (found.count(alpha) + 1) / days <= 5 < (found.count(1.1 * alpha) + 1) / days
    assert found.count(alpha) > 50
    assert all(found.count(a) <= found.count(alpha) for a in np.geomspace(1e-4, alpha, 20))


def test_alpha_for_incidents_brings_no_more_of_them_to_new_records_on_average():
    """Of two incidents that may come, too, where but one was counted."""
    n, wanted, brought = 4000, 2.0, []
    days = n / 1440
    for seed in range(60):
        old = counting(autoregressive(n, 0.5, seed=seed), np.arange(n) * MINUTE)
        alpha = alpha_for(wanted, old)
        assert old.count(alpha) >= 1
        new = autoregressive(n, 0.5, seed=1000 + seed)
        at = old.calibration.alarms(old.calibration.p_values(new), alpha)
        alarms = [("", int(m)) for m in np.flatnonzero(at) * MINUTE]
        brought.append(counted(alarms, 10) / days)
    assert 0.7 * wanted < np.mean(brought) < 1.15 * wanted  # 60 times 5.6: 6% off, by chance


@pytest.mark.parametrize("wanted", [0.0, 1.9])
def test_incidents_of_which_none_could_be_met_are_refused(wanted: float):
    scores, moments = autoregressive(1440, 0.5, seed=0), np.arange(1440) * MINUTE
    with pytest.raises(CalibrationError, match="in which 2 false incidents would be expected"):
        alpha_for(wanted or 0.01, counting(scores, moments))
    assert counting(scores, moments).count(alpha_for(2.0, counting(scores, moments))) == 1


def test_a_flood_of_alarms_in_a_row_is_one_incident_and_is_no_way_to_keep_the_number():
    """At an alpha of 0.5 an entity may be in alarm for all of its time: that is one incident, too,
    but nobody who asks for few incidents means it.
    """
    n = 20_000
    scores, moments = autoregressive(n, 0.999, seed=5), np.arange(n) * MINUTE
    assert alpha_for(1.0, counting(scores, moments)) <= 0.1
    bursts = np.where(np.arange(n) % 2000 < 1000, 0.0, 9.0) + autoregressive(n, 0.5, seed=6)
    found = counting(bursts, moments)
    alpha = alpha_for(1.5, found)
    assert found.count(0.5) <= 20 < found.count(0.05)  # ten bursts, but more on the way to them
    assert found.count(alpha) <= 20 and alpha < 0.05


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.689), (3, 0.619, 8.767)])
def test_the_interval_of_a_count_is_that_of_garwood(count: int, low: float, high: float):
    assert incidents_interval(count, 1.0) == pytest.approx((low, high), abs=1e-3)
    assert incidents_interval(count, 10.0)[1] == pytest.approx(high / 10, abs=1e-3)
