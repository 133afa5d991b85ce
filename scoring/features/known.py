"""columns that know their values -> which of them each record has.

A discrete column knows its categories, a numeric one with levels these, the hour of a day and the
day of a week all that there are. Where many numbers are 0, which says that there is nothing, the
column knows 0 as a value of its own. Of other numbers there is only whether one is given.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.absent import COUNTED, spans_of
from vaewatch.scoring.features.feature import ints
from vaewatch.scoring.features.levels import Ladder, LevelsOf
from vaewatch.scoring.schema import Column, Schema, missing_code
from vaewatch.scoring.time.parts import PERIODS, Part

GIVEN, MISSING, KNOWN = 0, 1, 2  # of a column of numbers; from the last on the values it knows


def with_zeros(levels: LevelsOf, zeros: Iterable[str]) -> LevelsOf:
    """Return the values that columns of numbers know: their levels, or 0 as one of its own."""
    return {**levels, **dict.fromkeys(zeros, (0.0,))}


def values_of(column: Column, levels: LevelsOf) -> int:
    """Return how many known values a column of numbers has, 0 if it does not know them."""
    if column.part in COUNTED:
        return int(PERIODS[column.part])
    return len(levels.get(column.name, ()))


def events_of(column: Column, levels: LevelsOf) -> int:
    """Return how many events a column has: its codes, or of numbers `GIVEN`, `MISSING` and then
    the values that it knows.
    """
    return KNOWN + values_of(column, levels) if column.is_number else missing_code(column) + 1


@dataclass(frozen=True)
class KnownValues:
    """Lookup tables for C columns, K of which hold levels.

    Attributes:
        numeric, discrete: the columns of each kind in the schema's order, by their index.
        levelled: (K,) the columns with levels, among the numeric ones; `ladder` has these.
        starts: (K,) where the levels of each begin in the ladder.
        parts: the columns that are hours or weekdays, among the numeric ones.
        zeros: (Z,) the columns in which 0 is a value of its own, among the numeric ones.
    """

    numeric: NDArray[np.int64]
    discrete: NDArray[np.int64]
    levelled: NDArray[np.int64]
    ladder: Ladder
    starts: NDArray[np.int64]
    parts: tuple[tuple[int, Part], ...]
    zeros: NDArray[np.int64]

    @classmethod
    def of(
        cls, schema: Schema, levels: LevelsOf, names: Collection[str], zeros: Collection[str] = ()
    ) -> KnownValues:
        """Return the tables; of columns of numbers without one of these names it is only told
        whether one is given.
        """
        at = {name: i for i, name in enumerate(schema.names)}
        own = {i: levels[c.name] for i, c in enumerate(schema.numeric) if c.name in levels}
        own = {i: each for i, each in own.items() if schema.numeric[i].name in names}
        return cls(
            numeric=ints(at[column.name] for column in schema.numeric),
            discrete=ints(at[column.name] for column in schema.discrete),
            levelled=ints(own),
            ladder=Ladder.of(list(own.values())),
            starts=np.cumsum([0, *map(len, own.values())])[:-1],
            parts=tuple(
                (i, column.part)
                for i, column in enumerate(schema.numeric)
                if column.part in COUNTED and column.name in names
            ),
            zeros=ints(
                i for i, c in enumerate(schema.numeric) if c.name in zeros and c.name in names
            ),
        )

    def numbers(self, column: int) -> tuple[NDArray[np.float64], float]:
        """Return the numbers that the known values of a column are, (V,), an hour's in its middle,
        and after which they come round; none of a column that does not know all of them.

        Args:
            column: by its index in the schema.
        """
        for own, part in self.parts:
            if self.numeric[own] == column:
                middle = 0.5 if part is Part.HOUR else 0.0
                return np.arange(PERIODS[part]) + middle, PERIODS[part]
        ranks = np.flatnonzero(self.numeric[self.levelled] == column)
        return self.ladder.table.imag[np.isin(self.ladder.table.real, ranks)], math.inf

    def read(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the events of N records, (N, C).

        Args:
            numbers: (N, numeric columns), NaN where missing. codes: (N, discrete columns).
        """
        missing = np.isnan(numbers)
        events = missing.astype(np.int64)
        if len(self.levelled):
            rows, ranks = np.nonzero(~missing.take(self.levelled, axis=1))
            columns = self.levelled[ranks]
            places = self.ladder.find(ranks, numbers[rows, columns])
            known = places - self.starts[ranks] + KNOWN
            events[rows, columns] = np.where(places < 0, GIVEN, known)
        for column, part in self.parts:
            given = ~missing[:, column]
            events[given, column] = spans_of(numbers[given, column], part) + KNOWN
        if len(self.zeros):
            events[:, self.zeros] += KNOWN * (numbers.take(self.zeros, axis=1) == 0.0)
        out = np.empty((len(numbers), len(self.numeric) + len(self.discrete)), np.int64)
        out[:, self.numeric], out[:, self.discrete] = events, codes
        return out
