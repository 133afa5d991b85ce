"""Whether a budget of windows holds over time: false alarms of the check itself, and changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from vaewatch.scoring.budget.calibration import CROSS_FITTED
from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.budget.in_words import words
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.series.judged import JudgedWindows, later_half, outlook_of_windows

STEP = 10_000_000
WINDOW = Window(16, 10 * STEP, STEP)


def judged(seed: int, n: int = 8000, shift: float = 0.0, alpha: float = 0.01) -> JudgedWindows:
    """Scores of two machines, each like the one before, that rise by `shift` in the last tenth."""
    rng, rho, half = np.random.default_rng(seed), 0.9, n // 2
    scores = lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.normal(size=(2, half)), axis=1)
    scores[:, int(half * 0.9) :] += shift
    flat, moments = scores.ravel(), np.tile(np.arange(half) * STEP, 2)
    names = np.repeat(["a", "b"], half).tolist()
    calibration = calibrate(flat, alpha, CROSS_FITTED)
    return JudgedWindows(WINDOW, calibration, flat, moments, names, np.repeat([0, 1], half))


def last_sixth(windows: JudgedWindows) -> Outlook | None:
    return outlook_of_windows(windows, windows.moments >= np.quantile(windows.moments, 5 / 6))


def test_windows_that_do_not_change_hold_their_budget_though_alarms_come_in_runs():
    broken = 0
    for seed in range(30):
        found = last_sixth(judged(seed))
        assert found is not None
        broken += found.broken
    assert broken <= 2


def test_windows_that_change_break_it():
    found = last_sixth(judged(0, n=20_000, shift=1.5))
    assert found is not None and found.broken and found.held is not None
    said = " ".join(words(found, windows=True))
    assert "(vaewatch recalibrate)" in said and "--calibrate" not in said


def test_fewer_independent_records_make_fewer_blocks():
    few, many = last_sixth(judged(0, n=2000)), last_sixth(judged(0, n=40_000))
    assert few is not None and many is not None
    assert len(few.blocks) <= 2 and len(many.blocks) == 10
    assert few.state is State.WITHIN


@pytest.mark.parametrize("later", [0.0, 1.1])
def test_nothing_is_said_without_a_past_or_a_future(later: float):
    windows = judged(0, n=2000)
    rows = windows.moments >= later * (windows.moments.max() + STEP)
    assert outlook_of_windows(windows, rows) is None


def test_nothing_is_said_where_the_past_certifies_no_alarm():
    windows = judged(0, n=2000, alpha=0.0006)
    rows = windows.moments >= windows.moments.max() // 10
    assert outlook_of_windows(windows, rows) is None


def test_the_later_half_is_later():
    windows = judged(0, n=2000)
    rows = later_half(windows)
    assert 0.4 < rows.mean() < 0.6
    assert windows.moments[rows].min() > windows.moments[~rows].max()
