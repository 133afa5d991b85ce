"""numbers of a column -> the edges of what it may be: an age of at least 18, at most 100 per cent.

Where the values do not thin out toward their largest, but end, the next one will not lie beyond:
an exponential tail, cut so near to its end, would have put many values there. By how much an edge
lies beyond the largest value is measured by how far the values next to it are from one another:
the next is farther out by 20 times that with a chance of e^-20, if they are spread evenly.

A number that grows with time ends everywhere, too. So in each tenth of the records, by time, some
values must come near the edge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import UNITS, Next, beyond

MISSING = 20.0  # values that a tail would have put beyond: twice what makes zero an edge
TENTHS, NEAR = 10, 10.0  # parts of the records, and how near each comes, in values' distances


def edges_of(by_time: NDArray[np.float64]) -> tuple[float, float]:
    """Return the limits that the edges of (n,) values give, in the order of their time; infinite
    where there is none.
    """
    return -_edge(-by_time), _edge(by_time)


def _edge(values: NDArray[np.float64]) -> float:
    """Return the limit above (n,) values."""
    if len(values) < ENOUGH:
        return math.inf
    largest = float(values.max())
    with np.errstate(over="ignore"):
        distances = np.sort(largest - values)
        tenths = [float(largest - part.max()) for part in np.array_split(values, TENTHS)]
    if not math.isfinite(distances[-1]):
        return math.inf
    end = Next.to(distances)
    if end.missing < MISSING or max(tenths) > NEAR * TENTHS * end.apart:
        return math.inf
    return beyond(largest, UNITS * end.apart)
