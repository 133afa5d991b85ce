"""numbers of groups of records -> a number, or a line of another column, for each group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.training.unseen.limits import Around

COLLINEAR = 1e-8  # of the variance of all: a group's that is less is none

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


def left_in_groups(groups: Ints, y: Numbers, x: Numbers | None, least: int) -> Numbers:
    """Return the variance of each of Q columns that is left in groups of n records, (Q,), beside
    one number a group, or a line of x; infinity where too few records could tell otherwise.

    Args:
        groups: (n,) of each record; negative for none. y: (n, Q), NaN where missing.
        x: (n,) None for one number a group. least: records beyond those that give a line.
    """
    rows = np.flatnonzero(groups >= 0 if x is None else (groups >= 0) & ~np.isnan(x))
    if not len(rows):
        return np.full(y.shape[1], np.inf)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[rows], prepend=-1))
    given = ~np.isnan(y[rows])
    own = np.where(given, y[rows], 0.0)
    own = np.where(given, own - own.sum(0) / given.sum(0).clip(min=1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.add.reduceat(given.astype(np.float64), starts)
        total = np.add.reduceat(own, starts)
        left = np.add.reduceat(own**2, starts) - total**2 / count
        tell = count > 1
        if x is not None:
            line = given * (x[rows] - x[rows].mean())[:, None]
            sums = np.add.reduceat(line, starts)
            spread = np.add.reduceat(line**2, starts) - sums**2 / count
            shared = np.add.reduceat(line * own, starts) - sums * total / count
            left -= shared**2 / spread
            tell = (count > 2) & (spread > COLLINEAR * (line**2).sum(0))
        told = np.where(tell, count - 1 - (x is not None), 0.0).sum(0)
        return np.where(told >= least, np.where(tell, left, 0.0).sum(0).clip(min=0) / told, np.inf)


@dataclass(frozen=True)
class Lines:
    """A line for each of G groups, y = value + slope (x - centre); or one number, where x is 0.

    Attributes:
        groups: (n,) of each record, 0 to G - 1; size: G. x, y: (n,) of each record.
        sloped: whether x has a slope.
    """

    groups: Ints
    size: int
    x: Numbers
    y: Numbers
    sloped: bool

    @cached_property
    def count(self) -> Numbers:
        """How many records each group has, (G,)."""
        return self._sum(np.ones(len(self.y)))

    @cached_property
    def centre(self) -> Numbers:
        return self._mean(self.x)

    @cached_property
    def value(self) -> Numbers:
        return self._mean(self.y)

    @cached_property
    def spread(self) -> Numbers:
        """The sum of squares of x about the centre, (G,)."""
        return self._sum((self.x - self.centre[self.groups]) ** 2)

    @cached_property
    def slope(self) -> Numbers:
        if not self.sloped:
            return np.zeros(self.size)
        apart = (self.x - self.centre[self.groups]) * (self.y - self.value[self.groups])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.known, self._sum(apart) / self.spread, 0.0)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which groups tell of their next record, (G,): with a slope those whose x varies."""
        if not self.sloped:
            return self.count > 0
        least = COLLINEAR * float(np.var(self.x)) * self.count
        return (self.spread > least) & (self.count > 2)

    @property
    def told(self) -> int:
        """How many records could have told otherwise."""
        return int((self.count - 1 - self.sloped).clip(min=0)[self.known].sum())

    def expected(self, groups: Ints, x: Numbers) -> Numbers:
        """Return what records of known groups have, NaN of another one."""
        number = self.value[groups] + self.slope[groups] * (x - self.centre[groups])
        return np.where(self.known[groups], number, np.nan)

    @cached_property
    def residuals(self) -> Numbers:
        """Of the records that could have told otherwise."""
        left = self.y - self.expected(self.groups, self.x)
        return left[(self.count > 1 + self.sloped)[self.groups] & ~np.isnan(left)]

    @cached_property
    def limits(self) -> Around:
        return Around.of(self.residuals)

    def holds_in_halves(self, least: int) -> bool:
        """Return whether what each half of the records makes a limit holds in the other one.

        least: records of either that could have told otherwise.
        """
        halves = np.array_split(np.arange(len(self.y)), 2)
        return all(
            self._of(one).keep(self._of(other), least) for one, other in (halves, halves[::-1])
        )

    def keep(self, other: Lines, least: int) -> bool:
        """Return whether the records of others keep within the limits of these lines."""
        if len(self.residuals) < least:
            return False
        expected = self.expected(other.groups, other.x)
        middle = self.limits.middle
        left = other.y - expected - middle
        slack = FLOAT32_ROUNDING * (np.abs(other.y) + np.abs(expected))
        wider = self.wider(other.groups, other.x)
        low, high = (end - middle for end in (self.limits.low, self.limits.high))
        with np.errstate(invalid="ignore"):  # of a group that has no records here
            beyond = (left < low * wider - slack) | (left > high * wider + slack)
        return not bool(beyond.any())

    def wider(self, groups: Ints, x: Numbers) -> Numbers:
        """Return how much wider the limits are for a next record, as the line has an error, too:
        1 and the square root of its leverage.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (x - self.centre[groups]) ** 2 / self.spread[groups] if self.sloped else 0.0
            return 1 + np.sqrt(1 / self.count[groups] + along)

    def _of(self, rows: Ints) -> Lines:
        """Return the lines of some of the records."""
        return replace(self, groups=self.groups[rows], x=self.x[rows], y=self.y[rows])

    def _mean(self, numbers: Numbers) -> Numbers:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._sum(numbers) / self.count

    def _sum(self, numbers: Numbers) -> Numbers:
        """Return the sum of each group's numbers, (G,)."""
        return np.bincount(self.groups, numbers, self.size).astype(np.float64)
