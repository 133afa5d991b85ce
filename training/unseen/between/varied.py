"""a table -> the numeric columns among which rules are sought."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.training.unseen.between.together import MOST_COLUMNS
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.order import TENTHS, by_time, series_by_time

LEAST_VARIED = 100  # records in which a column is not what it mostly is

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Varied:
    """The C measured columns of N records that vary; none if they are too many.

    Attributes:
        names: (C,) of them.
        x: (N, C) their numbers, by time.
        series: (N,) the places of the records one after the other, as each entity brought them.
    """

    names: list[str]
    x: Numbers
    series: Ints

    @classmethod
    def of(cls, table: Table) -> Varied:
        x = table.numbers[by_time(table), : len(table.schema.measured)]
        some = [j for j in range(x.shape[1]) if varies(x[:, j])] if len(x) >= ENOUGH else []
        some = some if len(some) <= MOST_COLUMNS else []
        names = [table.schema.measured[j].name for j in some]
        return cls(names, x[:, some], series_by_time(table))

    @cached_property
    def clumps(self) -> Numbers:
        """How many records in a row count as one in each column, (C,): by how much less often its
        numbers go from one side of their median to the other than in any order.
        """
        parts = np.array_split(np.arange(len(self.x)), TENTHS)
        return np.array([_clump(own, parts, self.series) for own in self.x.T])


def varies(numbers: Numbers) -> bool:
    """Return whether enough of (n,) numbers are not what they mostly are."""
    given = numbers[~np.isnan(numbers)]
    if len(given) < ENOUGH:
        return False
    return len(given) - int(np.unique(given, return_counts=True)[1].max()) >= LEAST_VARIED


def _clump(own: Numbers, parts: list[Ints], series: Ints) -> float:
    above = np.zeros(len(own), bool)
    for part in parts:
        given = own[part][~np.isnan(own[part])]
        above[part] = own[part] > (np.median(given) if len(given) else 0.0)
    above = above[series][~np.isnan(own[series])]
    share = np.count_nonzero(above) / len(above)
    crossed = max(int(np.count_nonzero(np.diff(above))), 1)
    return max(2 * share * (1 - share) * len(above) / crossed, 1.0)
