"""records, alarms -> does the alarm budget hold, or are there more or fewer than by chance?"""

from __future__ import annotations

import msgspec

from vaewatch.scoring.budget.calibration import Calibration
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
