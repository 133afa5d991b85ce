"""numbers of a column -> Known: which other numbers are unseen there.

By the same rules `unseen_by_others` says which fit records have a number that would be unseen if
they had been left out. Among the records that calibrate they count as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.training.unseen.calendar import alone_in_time
from vaewatch.training.unseen.edges import edges_of
from vaewatch.training.unseen.levels import is_whole, levels_of
from vaewatch.training.unseen.limits import limits_of
from vaewatch.training.unseen.names import alone_by_name
from vaewatch.training.unseen.order import by_time, in_series
from vaewatch.training.unseen.ratios import floor_of
from vaewatch.training.unseen.zeros import has_zero


@dataclass(frozen=True)
class Known:
    """What a column's n values say of other numbers; None and False where it is nothing.

    Attributes:
        limits: beyond which a number is unseen.
        levels: beside which it is.
        whole: whether a fraction is.
        zero: whether 0 is a value of its own among others that may be any.
    """

    limits: tuple[float, float] | None
    levels: tuple[float, ...] | None
    whole: bool
    zero: bool = False

    @classmethod
    def of(cls, given: NDArray[np.float64], by_time: NDArray[np.float64]) -> Known:
        """Return what (n,) values say.

        Args:
            given: as each entity brought them, see `in_series`. by_time: the same, by time.
        """
        if len(given) and _is_constant(given):
            return cls(None, None, False)  # any other number has changed
        limits = limits_of(given)
        if limits is not None:
            low, high = edges_of(given, by_time)
            limits = max(limits[0], low, floor_of(by_time)), min(limits[1], high)
        levels = levels_of(given)
        return cls(limits, levels, is_whole(given), zero=levels is None and has_zero(given))

    def unseen(self, number: float) -> bool:
        far = self.limits is not None and not self.limits[0] <= number <= self.limits[1]
        beside = self.levels is not None and number not in self.levels
        return far or beside or (self.whole and not number.is_integer())


def unseen_by_others(table: Table) -> NDArray[np.int64]:
    """Return how many numbers, parts of the time and names that share an indicator would be unseen
    of each of N fit records, (N,), if it had been left out.
    """
    found = alone_in_time(table) + alone_by_name(table)
    measured, series, time = len(table.schema.measured), in_series(table), by_time(table)
    for numbers in table.numbers[:, :measured].T:
        rows = series[~np.isnan(numbers[series])]
        given = numbers[rows]
        for at in _alone(given):
            others, number = np.delete(given, at), float(given[at])
            if _is_constant(others):
                found[rows[at]] += 1
                continue
            later = numbers[time[time != rows[at]]]
            found[rows[at]] += Known.of(others, later[~np.isnan(later)]).unseen(number)
    return found


def _is_constant(given: NDArray[np.float64]) -> bool:
    return bool(given.min() == given.max())


def _alone(given: NDArray[np.float64]) -> Iterator[int]:
    """Yield the places of those of (n,) values that may be unseen to all others: the largest and
    the least, the only one that does not recur, and the only fraction.
    """
    values, first, counts = np.unique(given, return_index=True, return_counts=True)
    if len(values) < 2:
        return
    single = np.flatnonzero(counts == 1)
    broken = np.flatnonzero(values != np.rint(values))
    ends = {0, len(values) - 1} & set(single.tolist())
    for only in (single, broken):
        ends |= set(only.tolist()) if len(only) == 1 and counts[only[0]] == 1 else set()
    yield from first[sorted(ends)].tolist()
