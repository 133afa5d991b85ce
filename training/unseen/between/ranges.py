"""values of a column -> limits of their own for the numbers of another one.

A category's numbers are limited by their own tail, and the limits that either half of them gives
hold in the other. They say something if the numbers of other records are often beyond them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.known import KNOWN
from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.schema import PLACES
from vaewatch.scoring.spelling.categories import half, is_half
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import limits_of

UNITS = 10.0  # of a tail: fewer than of all numbers, as what lies beyond is known to be possible

Numbers = NDArray[np.float64]
Limits = tuple[float, float]


def ranges_of(every: Together, some: Together, expected: int) -> Iterator[Exclusion]:
    """Yield values with which the numbers of another column have narrower limits; of names those
    that have an indicator, as each is looked at by itself.

    Args:
        some: of the records, to be searched first.
        expected: how many numbers could have been beyond the limits, at least.
    """
    numeric = np.flatnonzero(~np.isnan(every.numbers).all(0)).tolist()
    limited = [c for c, part in enumerate(every.parts) if part is None]
    least = expected * len(some) / len(every)
    for column in limited:
        enough = every.counts[column].sum(0) >= ENOUGH
        enough[: KNOWN * (column in numeric)] = False  # that a number is given, or missing
        if every.is_long(column):
            enough[PLACES:-2] = False
        for code in np.flatnonzero(enough).tolist():
            own, of_all = (each.events[:, column] == code for each in (some, every))
            for other in numeric:
                if other == column:
                    continue
                limits = _range(some.numbers[own, other])
                if limits is None or not some.often_outside(column, code, other, limits, least):
                    continue
                limits = _limits(every.numbers[of_all, other])
                if limits is None:
                    continue
                if every.often_outside(column, code, other, limits, expected):
                    yield Exclusion(every.names[column], code, every.names[other], limits=limits)


def _range(numbers: Numbers) -> Limits | None:
    given = numbers[~np.isnan(numbers)]
    return (float(given.min()), float(given.max())) if len(given) else None


def _limits(numbers: Numbers) -> Limits | None:
    """Return the limits of a value's numbers, which hold in either half; None without."""
    given = numbers[~np.isnan(numbers)]
    if len(given) < ENOUGH:
        return None
    one, two = np.array_split(given, 2)
    for half_of, other in ((one, two), (two, one)):
        low, high = _all_limits(half_of)
        if other.min() < low or other.max() > high:
            return None
    return _all_limits(given)


def _all_limits(given: Numbers) -> Limits:
    limits = limits_of(given, UNITS)
    if limits is not None:
        return limits
    value = float(given[0])  # the only one
    slack = abs(value) * FLOAT32_ROUNDING
    near = half(value) if is_half(half(value)) else value
    return min(value - slack, near), max(value + slack, near)
