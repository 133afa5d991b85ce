"""numbers of a column -> the limits beyond which a number is unseen.

A tail is measured by the mean by which its k values, ten or a hundredth of all, exceed the next
one. An exponential tail goes on alike from wherever it is cut: after n values the next is 20 of
these means beyond the largest with a chance of (1 + 20 / k)^-k / n, 2 in 100,000 n at most.
Heavier tails give such values more often, as they do among the records that calibrate
(`vaewatch.training.unseen.known`).

Such a tail also tells where zero is an edge: how near to it the k least values are, measured by
their mean, says how many should have been negative. If many should and none was, none will be.
`vaewatch.training.unseen.edges` finds other edges by the same rule.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.spelling.categories import half
from vaewatch.training.unseen.levels import ENOUGH

LEAST_GIVEN = 20  # values: of fewer there are no limits, since their tails tell too little
TAIL, TAIL_SHARE = 10, 0.01  # values of a tail, or this share of them if that is more
UNITS = 20.0  # means of a tail: an exponential one goes so far with a chance of e^-20 / n
EDGE_TAIL, EDGE_SHARE, EDGE_MOST = 100, 0.1, 1000  # values next to an edge, and at most so many
BEYOND_EDGE = 10.0  # values that a tail would have put there: there is none with e^-10
LARGEST = float(np.finfo(np.float64).max)


def limits_of(given: NDArray[np.float64], units: float = UNITS) -> tuple[float, float] | None:
    """Return the limits beyond which a number is unseen, given (n,) values; None if they are few,
    or all the same.

    Args:
        units: by how many means of the tail a limit lies beyond the values.
    """
    ascending = np.sort(given)
    if len(ascending) < LEAST_GIVEN or not ascending[0] < ascending[-1]:
        return None
    edge = -slack_of_edge(ascending - _least_count(ascending))
    return max(-limit_above(-ascending[::-1], units), edge), limit_above(ascending, units)


class Around(NamedTuple):
    """The limits of what a rule leaves of numbers, and what it leaves of a usual one."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, left: NDArray[np.float64]) -> Around:
        """Return the limits of (n,) values of either sign, at least 20 of them, of which none is
        an edge.
        """
        ascending = np.sort(left)
        low, high = -limit_above(-ascending[::-1]), limit_above(ascending)
        return cls(low, float(np.median(left)), high)

    @property
    def width(self) -> float:
        """How far the farther limit is from the middle."""
        return max(self.high - self.middle, self.middle - self.low)


def slack_of_edge(distances: NDArray[np.float64]) -> float:
    """Return how far beyond an edge rounding may put a number; infinity if it is none.

    Args:
        distances: (n,) of the values from it, the least first; negative beyond it.
    """
    if len(distances) < ENOUGH or distances[0] < 0:
        return math.inf
    rounding = FLOAT32_ROUNDING * float(np.median(distances))
    return rounding if Next.to(distances).missing >= BEYOND_EDGE else math.inf


class Next(NamedTuple):
    """The values next to what may be an edge.

    Attributes:
        reach: how far the farthest of them is from it.
        apart: from one to the next, on average. nearest: the same of the ten next to the edge.
        missing: how many of them an exponential tail would have put beyond it.
    """

    reach: float
    apart: float
    nearest: float
    missing: float

    @classmethod
    def to(cls, distances: NDArray[np.float64]) -> Next:
        """Return what is next to an edge, by the distances from it, (n,)."""
        k = min(max(EDGE_TAIL, int(EDGE_SHARE * len(distances))), EDGE_MOST)
        nearest = np.sort(np.partition(distances, k)[: k + 1])
        reach = float(nearest[k])
        with np.errstate(over="ignore"):
            mean = float(reach - nearest[:k].mean())
        missing = k * math.exp(-reach / mean) if mean > 0 else float(k * (reach == 0))
        return cls(reach, reach / k, float(nearest[TAIL]) / TAIL, missing)


def _least_count(ascending: NDArray[np.float64]) -> float:
    """Return 1 for counts of at least one, whose edge is there, else 0."""
    return float(ascending[0] == 1 and bool(np.all(ascending == np.rint(ascending))))


def limit_above(ascending: NDArray[np.float64], units: float = UNITS) -> float:
    """Return the limit above (n,) values.

    It is as far from the largest as that is from the median at least, and never below the float32
    or the float16 in which the largest may come again.
    """
    n, largest = len(ascending), float(ascending[-1])
    k = min(max(TAIL, int(TAIL_SHARE * n)), n // 2)
    with np.errstate(over="ignore"):
        mean = float((ascending[-k:] - ascending[-k - 1]).mean())
        unit = max(mean, float(largest - np.median(ascending)) / units)
    return max(beyond(largest), min(largest + units * unit, LARGEST))


def beyond(limit: float) -> float:
    """Return a limit, or what float32 or float16 make of it if that is more."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(limit)), half(limit)
    return min(max([limit, *filter(math.isfinite, rounded)]), LARGEST)
