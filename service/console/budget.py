"""records, alarms -> does the alarm budget hold, or are there more or fewer than by chance?"""

from __future__ import annotations

import math

import msgspec

from vaewatch.scoring.budget.calibration import Calibration, RateLaw
from vaewatch.scoring.budget.expected import CONFIDENCE, Expected


class Budget(msgspec.Struct):
    """The alarms among recent records, beside what chance allows: `low` to `high` of them.

    state: 'empty', 'below', 'within' or 'above'.
    bound: whether `expected` is an upper bound only.
    verdict: how many of the alarms chance explains, as a phrase.
    """

    alpha: float
    records: int
    alarms: int
    expected: float
    low: int
    high: int
    confidence: float
    state: str
    verdict: str = ""
    bound: bool = False


def expected_of_windows(calibration: Calibration, records: int, spacing: int) -> Expected:
    """Return the alarms to expect where scores of neighbouring windows are alike.

    Records and calibration scores are worth 1 / spacing as many independent ones, each of which
    alarms with all of its neighbours.
    """
    law = calibration.rate_law()
    n = max(law.n // spacing, 1)
    fewer = RateLaw(n, law.low // spacing, min(math.ceil(law.high / spacing), n))
    found = Expected.of(fewer, math.ceil(records / spacing))
    low, high = spacing * found.low, min(spacing * found.high, records)
    return Expected(records, records * law.mean, low, high, law.low < law.high)


def budget_of(
    calibration: Calibration, records: int, alarms: int, expected: Expected | None = None
) -> Budget:
    """Compare a number of alarms with what the calibration allows, or with what is given as
    `expected` where several calibrations judge.
    """
    expected = Expected.at(calibration, records) if expected is None else expected
    return Budget(
        alpha=calibration.alpha,
        records=records,
        alarms=alarms,
        expected=expected.mean,
        low=expected.low,
        high=expected.high,
        confidence=CONFIDENCE,
        state=expected.state(alarms),
        verdict=expected.verdict(alarms),
        bound=expected.bound,
    )
