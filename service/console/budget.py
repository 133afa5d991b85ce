"""records, alarms -> does the alarm budget hold, or are there more or fewer alarms than by chance?

k of n + 1 exchangeable records may alarm (`vaewatch.scoring.budget.calibration`). The number of
alarms among m new ones is not binomial, because the calibration sample is finite, too: it is
beta-binomial with m trials and the parameters k and n + 1 - k.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, RateLaw

CONFIDENCE = 0.99  # people look often: at 95 %, one look in twenty would raise a false alarm


class Budget(msgspec.Struct):
    """The alarms among recent records, beside what chance allows: `low` to `high` of them.

    state: 'empty', 'below', 'within' or 'above'.
    """

    alpha: float
    records: int
    alarms: int
    expected: float
    low: int
    high: int
    confidence: float
    state: str


def budget_of(calibration: Calibration, records: int, alarms: int) -> Budget:
    """Compare a number of alarms with what the calibration allows."""
    law = calibration.rate_law()
    low, high = chance_interval(records, law)
    state = "below" if alarms < low else "above" if alarms > high else "within"
    return Budget(
        alpha=calibration.alpha,
        records=records,
        alarms=alarms,
        expected=records * law.mean,
        low=low,
        high=high,
        confidence=CONFIDENCE,
        state=state if records else "empty",
    )


def chance_interval(m: int, law: RateLaw) -> tuple[int, int]:
    """The central range of the alarms among m records, with a probability of at least
    CONFIDENCE.
    """
    tail = (1 - CONFIDENCE) / 2
    low = _quantile(m, law.low, law.n, tail) if law.low else 0
    return low, min(m, _quantile(m, law.high, law.n, 1 - tail))


def _quantile(m: int, k: int, n: int, share: float) -> int:
    total = np.cumsum(beta_binomial(m, k, n + 1 - k))
    return int(np.searchsorted(total, share))


def beta_binomial(m: int, a: float, b: float) -> NDArray[np.float64]:
    """(m + 1,) probabilities of 0 to m, by the ratio of each to the one before it."""
    j = np.arange(m)
    ratios = np.log((m - j) * (a + j)) - np.log((j + 1) * (b + m - j - 1))
    first = math.lgamma(a + b) - math.lgamma(b) + math.lgamma(b + m) - math.lgamma(a + b + m)
    return np.asarray(np.exp(first + np.concatenate([[0.0], np.cumsum(ratios)])))
