"""A count of false alarms -> how probable one so far from the expected count is."""

from __future__ import annotations

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.chance import Chance

DOUBT = 0.01  # a count of false alarms that is less probable than this contradicts the calibration


def budget_p_value(false_alarms: int, normals: int, law: RateLaw) -> float:
    """Return the two-sided p-value of a count of false alarms among m normals: given the true
    rate, of which the law is known, the count is binomial, and so BetaBinomial(m, k, n + 1 - k).
    """
    few = Chance(normals, law.low, law.n).at_most(false_alarms)
    many = Chance(normals, law.high, law.n).at_least(false_alarms)
    return min(1.0, 2 * min(few, many))
