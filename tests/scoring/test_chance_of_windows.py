"""The alarms and incidents that chance explains among windows that overlap."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from scipy.signal import lfilter

from vaewatch.scoring.budget.calibration import CROSS_FITTED, SPLIT, Calibration, block_law
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.windows import Incidents, expected_of_windows
from vaewatch.scoring.series.promise import alarm_blocks
from vaewatch.scoring.series.window import SeriesSummary, Window

N, ALPHA = 10_000, 0.01
MINUTE = 60_000_000
WINDOW = Window(size=10, gap=10 * MINUTE, step=MINUTE)


def series(blocks: int) -> SeriesSummary:
    return SeriesSummary(1, 0, 0, 0, N, blocks, {"0.1": 8.0, "0.01": 1.5, "0.001": 0.0})


def calibration(rule: str) -> Calibration:
    return Calibration(np.sort(np.random.default_rng(0).normal(size=N)), ALPHA, rule)


@pytest.mark.parametrize("rule", [SPLIT, CROSS_FITTED])
def test_records_that_share_nothing_are_as_ever(rule: str):
    judge = calibration(rule)
    found, alone = expected_of_windows(judge, series(N), 5_000), Expected.at(judge, 5_000)
    assert (found.mean, found.bound) == (alone.mean, alone.bound)
    assert abs(found.low - alone.low) <= 1 and abs(found.high - alone.high) <= 1


@pytest.mark.parametrize("length", [5, 20])
def test_blocks_that_alarm_as_a_whole_stay_in_the_range(length: int):
    """Blocks of equal scores: the law is that of as many records as there are blocks."""
    rng, judged, seen = np.random.default_rng(1), 4_000, 0
    for _ in range(300):
        scores = np.repeat(rng.normal(size=N // length), length)
        judge = Calibration(np.sort(scores), ALPHA, SPLIT)
        traffic = np.repeat(rng.normal(size=judged // length), length)
        alarms = int(judge.alarms(judge.p_values(traffic)).sum())
        found = expected_of_windows(judge, series(N // length), judged)
        seen += found.low <= alarms <= found.high
        assert found.high > Expected.at(judge, judged).mean
    assert seen >= 291  # of 297 at 99%


@pytest.mark.parametrize("alpha", [0.0069, 0.02])
def test_the_interval_covers_blocks_that_the_threshold_cuts(alpha: float):
    """Neighbours that are alike by degrees: 5000 records of a slow process, worth some hundred."""
    rng, n, above, below = np.random.default_rng(0), 5000, 0, 0
    for _ in range(300):
        steps = rng.normal(size=n + 500)
        scores = lfilter([1.0], [1.0, -0.97], steps)[500:]
        judge = Calibration(np.sort(scores), alpha, SPLIT)
        blocks = alarm_blocks(judge, scores, np.zeros(n, int), 24)
        threshold = judge.threshold(alpha)
        assert threshold is not None
        true = NormalDist(sigma=(1 - 0.97**2) ** -0.5).cdf(-threshold)
        low, high = block_law(judge, alpha, blocks).interval()
        above, below = above + (true > high), below + (true < low)
    assert above <= 300 * 0.05 and below <= 300 * 0.05  # 0.025 each; it was 0.1 above


def test_no_records_bring_no_alarms():
    found = expected_of_windows(calibration(CROSS_FITTED), series(100), 0)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert block_law(calibration(CROSS_FITTED), 1e-4, 100).high == 1


@pytest.mark.parametrize(
    ("alpha", "foretold", "bound", "said"),
    [
        (0.01, 1.5, False, "1.5 foretold"),
        (0.02, 8.0, True, "up to 8 foretold"),
        (0.001, 0.0, False, "fewer than 0.144 foretold"),
        (0.5, None, False, "none foretold at this alpha"),
    ],
)
def test_incidents_stand_beside_those_of_the_fit(
    alpha: float, foretold: float | None, bound: bool, said: str
):
    found = Incidents.of(6, 2 * 1440, series(100), WINDOW, alpha)
    assert (found.days, found.per_day) == (2.0, 3.0)
    assert (found.foretold, found.bound) == (foretold, bound)
    assert found.words == f"6 incidents: 3 per entity and day, {said} of normal traffic"
    assert Incidents.of(0, 0, series(100), WINDOW, alpha).per_day is None
