"""numbers of a column -> the edges of what it may be: an age of at least 18, at most 100 per cent.

Where the values do not thin out toward their largest, but end, the next one will not lie beyond:
an exponential tail, cut so near to its end, would have put many values there. By how much an edge
lies beyond the largest value is measured by how far the values next to it are from one another:
the next is farther out by 20 times that with a chance of e^-20, if they are spread evenly.

A number that grows with time ends everywhere, too. So in each tenth of the records, by time, some
values must come near the edge. And one that stays there for some records has come there once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import UNITS, Next, beyond
from vaewatch.training.unseen.order import TENTHS, starts

Numbers = NDArray[np.float64]

MISSING = 20.0  # values that a tail would have put beyond: twice what makes zero an edge
NEAR = 10.0  # how near to the edge each tenth comes, in its values' distances


def edges_of(given: Numbers, by_time: Numbers) -> tuple[float, float]:
    """Return the limits that the edges of (n,) values give; infinite where there is none.

    Args:
        given: as each entity brought them. by_time: the same, by time.
    """
    return -_edge(-given, -by_time), _edge(given, by_time)


def _edge(given: Numbers, by_time: Numbers) -> float:
    """Return the limit above (n,) values."""
    if len(given) < ENOUGH:
        return math.inf
    largest = float(given.max())
    with np.errstate(over="ignore"):
        distances = largest - given
        tenths = [float(largest - part.max()) for part in np.array_split(by_time, TENTHS)]
    if not np.isfinite(distances).all():
        return math.inf
    end = Next.to(distances)
    if max(tenths) > NEAR * TENTHS * end.apart:
        return math.inf
    near = distances <= end.reach
    visits = len(starts(near))  # what lasts there counts once
    if end.missing * visits / np.count_nonzero(near) < MISSING:
        return math.inf
    return beyond(largest + UNITS * max(end.apart, end.nearest))
