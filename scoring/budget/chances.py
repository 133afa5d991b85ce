"""The law of the number of alarms that several independent calibrations bring together.

A small segment beside a large one is skewed: a law with the same mean and variance would be
exceeded several times too often. So the laws are convolved, each on whole numbers, or on a grid of
POINTS steps if their ranges together are longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.chance import Chance

POINTS = 8192
FAR = 10.0  # alarms and standard deviations from a mean, beyond which a law has hardly a chance
SKEWED = 20.0  # standard deviations more on the long side of the most skewed law, that of rank 1
LEAST = 1e-12  # what the ends that are left out may have
FINE = 3.0  # pieces of a deviation, in which a law is a curve
SHIFT = 8  # from so large an x on, four terms of Stirling's series give log(gamma(x))


@dataclass(frozen=True)
class Chances:
    """The number of alarms among the records of all parts, which are independent."""

    parts: tuple[Chance, ...]

    @property
    def records(self) -> int:
        return sum(each.records for each in self.parts)

    def at_least(self, alarms: int) -> float:
        """Return the probability of so many alarms or more; no less than LEAST, if it can be."""
        if alarms > self.records:
            return 0.0
        values, masses = self._law
        return float(np.clip(masses[values >= alarms].sum(), LEAST, 1.0))

    def quantile(self, share: float) -> int:
        """Return the smallest number of alarms that is not exceeded with this probability."""
        values, masses = self._law
        above = masses[::-1].cumsum()[::-1] - masses  # sums of the smallest first
        number = round(float(values[np.argmax(above <= 1 - share)]))
        return min(max(number, 0), self.records)

    @cached_property
    def _law(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The numbers of alarms on the grid, and their probabilities."""
        spread = [each for each in self.parts if each.variance > 0]
        mean = sum(each.mean for each in self.parts)
        step = max(1, math.ceil(sum(high - low for low, high in map(_range, spread)) / POINTS))
        masses = np.ones(1)
        for each in spread:
            masses = np.convolve(masses, _masses(each, step))
        masses /= masses.sum()
        places = step * np.arange(len(masses), dtype=np.float64)
        first = mean - float(places @ masses)  # where in its step each law lies is lost
        return places + (round(first) if step == 1 else first), masses


def _range(chance: Chance) -> tuple[int, int]:
    """Return the first and the last number of alarms that have a chance."""
    mean, deviation = chance.mean, math.sqrt(chance.variance)
    below = FAR + (FAR + SKEWED / math.sqrt(chance.n + 1 - chance.k)) * deviation
    above = FAR + (FAR + SKEWED / math.sqrt(chance.k)) * deviation
    return max(0, math.floor(mean - below)), min(chance.records, math.ceil(mean + above))


def _masses(chance: Chance, step: int) -> NDArray[np.float64]:
    """Return the probability of each step of the range, up to a factor. A step is cut as fine as
    the law takes to be a curve, or into whole numbers.
    """
    low, high = _range(chance)
    cuts = min(step, math.ceil(FINE * step / math.sqrt(chance.variance)))
    width = step / cuts
    x = low + (width - 1) / 2 + width * np.arange(math.ceil((high - low + 1) / width))
    masses = np.exp(_log_chance(chance, np.minimum(x, chance.records)))
    return np.asarray(np.add.reduceat(masses, np.arange(0, len(masses), cuts)))


def _log_chance(chance: Chance, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the probability of x alarms, (X,), less that of the likeliest."""
    n, k, rest = chance.n, chance.k, chance.records - x
    found = _log_gamma(x + k) - _log_gamma(x + 1)
    found += _log_gamma(rest + n + 1 - k) - _log_gamma(rest + 1)
    return np.asarray(found - found.max())


def _log_gamma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the gamma function, by Stirling's series, for x of 1 or more."""
    y = x + SHIFT
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5) - 1 / (1680 * y**7)
    product = np.log(np.multiply.reduce([(x + i) / y for i in range(SHIFT)]))
    return np.asarray((y - 0.5 - SHIFT) * np.log(y) - y + series - product)
