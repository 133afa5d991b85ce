"""numbers of a column -> the limit below those that differ by ratios, or are far from zero.

Of wages from 50 to 18,000 one of 2 is far out, and so is none at all, though by their differences
both are near: what is far there is measured by the largest. Where all values are positive and
spread so, the tail below is measured by their logarithms. But what is less than half of the least
step from one value to another may be written as 0, so no limit lies so low.

And where all are positive, and so far from zero that even a tail like theirs would hardly reach
it, the next one is no thousandth of them, as where a unit was mistaken, nor zero, nor negative.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import TAIL_SHARE, beyond, limit_above
from vaewatch.training.unseen.order import TENTHS

WIDE = 30.0  # times the least value is the largest
SKEWED = 5.0  # times as far from the median is the largest as the least
UNITS = 10.0  # means of the tail: half of what a limit is above
NEXT = 30  # values of the tail near zero, at least
HARDLY = 0.05  # of as many new values as there are: those that their tail would put near zero
STEPS = 10  # from zero to the least value, at least
SMALL = 0.01  # of the least value: below that, none of positive numbers is expected
LOW = 0.1  # each tenth of the records, by time, has values among these lowest


def floor_of(by_time: NDArray[np.float64]) -> float:
    """Return the limit below (n,) values, in the order of their time; minus infinity if some are
    not positive, or what is low there has come at some times only, or they neither differ by
    ratios nor are far from zero.
    """
    if len(by_time) < ENOUGH:
        return -math.inf
    least, low, middle, largest = map(float, np.quantile(by_time, (0, LOW, 0.5, 1)))
    if least <= 0 or any(float(part.min()) > low for part in np.array_split(by_time, TENTHS)):
        return -math.inf
    ascending = np.sort(by_time)
    limit = _below_ratios(ascending) if _differ_by_ratios(least, middle, largest) else -math.inf
    return max(limit, _near_zero(ascending))


def _differ_by_ratios(least: float, middle: float, largest: float) -> bool:
    return largest / WIDE >= least and largest / SKEWED - middle / SKEWED >= middle - least


def _near_zero(ascending: NDArray[np.float64]) -> float:
    """Return a small share of the least of (n,) positive values, if hardly any lie below it, and
    it is no count to which zero is near; else minus infinity.
    """
    if ascending[0] < STEPS * _step(ascending):
        return -math.inf
    k = max(NEXT, int(TAIL_SHARE * len(ascending)))
    limit, reach = SMALL * float(ascending[0]), float(ascending[k])
    mean = reach - float(ascending[:k].mean())
    # of an exponential tail whose mean is known by k values
    expected = k * (1 + (reach - limit) / mean / k) ** -k if mean > 0 else 0.0
    return -beyond(-limit) if expected <= HARDLY else -math.inf


def _below_ratios(ascending: NDArray[np.float64]) -> float:
    """Return the limit below (n,) values that differ by ratios."""
    least = float(ascending[0])
    limit = min(math.exp(-limit_above(-np.log(ascending)[::-1], UNITS)), least)  # but for rounding
    return -beyond(-limit) if limit > _step(ascending) / 2 else -math.inf


def _step(ascending: NDArray[np.float64]) -> float:
    """Return the least step from one of (n,) values to another; 0 if all are the same."""
    steps = np.diff(ascending)
    return float(steps[steps > 0].min(initial=math.inf)) if steps.any() else 0.0
