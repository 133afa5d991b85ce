"""numbers of a column -> the limit below those that differ by ratios.

Of wages from 50 to 18,000 one of 2 is far out, and so is none at all, though by their differences
both are near: what is far there is measured by the largest. Where all values are positive and
spread so, the tail below is measured by their logarithms. But what is less than half of the least
step from one value to another may be written as 0, so no limit lies so low.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import beyond, limit_above
from vaewatch.training.unseen.order import TENTHS

WIDE = 30.0  # times the least value is the largest
SKEWED = 5.0  # times as far from the median is the largest as the least
UNITS = 10.0  # means of the tail: half of what a limit is above
LOW = 0.1  # each tenth of the records, by time, has values among these lowest


def floor_of(by_time: NDArray[np.float64]) -> float:
    """Return the limit below (n,) values, in the order of their time; minus infinity if they do
    not differ by ratios, or what is low there has come at some times only.
    """
    if len(by_time) < ENOUGH:
        return -math.inf
    least, low, middle, largest = map(float, np.quantile(by_time, (0, LOW, 0.5, 1)))
    if least <= 0 or largest / WIDE < least or largest / SKEWED - middle / SKEWED < middle - least:
        return -math.inf
    if any(float(part.min()) > low for part in np.array_split(by_time, TENTHS)):
        return -math.inf
    ascending = np.sort(by_time)
    steps = np.diff(ascending)
    limit = min(math.exp(-limit_above(-np.log(ascending)[::-1], UNITS)), least)  # but for rounding
    return -beyond(-limit) if limit > steps[steps > 0].min() / 2 else -math.inf
