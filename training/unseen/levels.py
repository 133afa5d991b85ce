"""numbers of a column -> its levels: few values that come again and again.

As often as one of n records brought a value of its own, as often the next one will (Good & Turing,
1953): hardly ever, where every value recurs. What tells of the next records are the runs of equal
values, not the records: a year in a table that is sorted by time is one run, be it ever so long,
and a value of one half only may be followed by another one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENOUGH = 500  # values: of fewer a table has no rules for what values there may be
MOST_LEVELS = 100
LEAST_RUNS = 100  # of equal values
LEAST_OF_LEVEL = 4  # runs of each value, in either half of the records


def levels_of(given: NDArray[np.float64]) -> tuple[float, ...] | None:
    """Return the levels of (n,) values in the order of their records; None if other values may
    come.
    """
    if len(given) < ENOUGH or len(np.unique(given[:ENOUGH])) > MOST_LEVELS:
        return None
    values, ranks = np.unique(given, return_inverse=True)
    starts = np.flatnonzero(np.diff(ranks, prepend=-1))
    if not 2 <= len(values) <= MOST_LEVELS or len(starts) < LEAST_RUNS:
        return None
    cut = int(np.searchsorted(starts, len(given) // 2))
    for half in (starts[:cut], starts[cut:]):
        if np.bincount(ranks[half], minlength=len(values)).min() < LEAST_OF_LEVEL:
            return None
    return tuple(values.tolist())


def is_whole(given: NDArray[np.float64]) -> bool:
    """Return whether a fraction is unseen, given (n,) values."""
    return len(given) >= ENOUGH and bool(np.all(given == np.rint(given)))
