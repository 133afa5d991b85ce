"""numbers of a column -> the limits beyond which a number is unseen.

A tail is measured by the mean by which its k values, ten or a hundredth of all, exceed the next
one. An exponential tail goes on alike from wherever it is cut: after n values the next is 20 of
these means beyond the largest with a chance of (1 + 20 / k)^-k / n, 2 in 100,000 n at most.
Heavier tails give such values more often, as they do among the records that calibrate
(`vaewatch.training.unseen.known`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.spelling.categories import half

LEAST_GIVEN = 20  # values: of fewer there are no limits, since their tails tell too little
TAIL, TAIL_SHARE = 10, 0.01  # values of a tail, or this share of them if that is more
UNITS = 20.0  # means of a tail: an exponential one goes so far with a chance of e^-20 / n
LARGEST = float(np.finfo(np.float64).max)


def limits_of(given: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the limits beyond which a number is unseen, given (n,) values; None if they are few,
    or all the same.
    """
    ascending = np.sort(given)
    if len(ascending) < LEAST_GIVEN or not ascending[0] < ascending[-1]:
        return None
    return -_limit(-ascending[::-1]), _limit(ascending)


def _limit(ascending: NDArray[np.float64]) -> float:
    """Return the limit above (n,) values.

    It is as far from the largest as that is from the median at least, and never below the float32
    or the float16 in which the largest may come again.
    """
    n, largest = len(ascending), float(ascending[-1])
    k = min(max(TAIL, int(TAIL_SHARE * n)), n // 2)
    with np.errstate(over="ignore"):
        mean = float((ascending[-k:] - ascending[-k - 1]).mean())
        unit = max(mean, float(largest - np.median(ascending)) / UNITS)
        rounded = float(np.float32(largest)), half(largest)
    limit = max([largest + UNITS * unit, *filter(math.isfinite, rounded)])
    return min(limit, LARGEST)
