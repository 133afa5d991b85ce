"""numbers that follow from what other columns hold -> which records have another one.

A lookup says what a number is by one or two columns that know their values, as a distance by its
two ends, or which line of another number it lies on, as a price of a weight, by its service.
`vaewatch.training.unseen.between.lookups` finds them. A record that has another number has an
unseen value in one of the columns (`vaewatch.scoring.features.between.marks`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.between.marks import mark
from vaewatch.scoring.features.feature import Feature, floats, ints, rounded
from vaewatch.scoring.features.known import KnownValues, events_of
from vaewatch.scoring.features.levels import LevelsOf
from vaewatch.scoring.features.same import (
    FLOAT16_ROUNDING,
    FLOAT32_ROUNDING,
    are_halves,
    show_halves,
)
from vaewatch.scoring.features.state import Lookup
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

MOST_KEYS = 2  # columns by which a number is looked up
MOST_PLACES = 2**17  # of the table of a lookup, one for each value or pair of values
LINE = 5  # numbers that say what a line is
NEAR = 1e-9  # of a number, at most what rounding may move it by
MOST_DIGITS = 9  # significant ones of a number that mends a lookup

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Lookups:
    """Lookup tables for L lookups, one after the other.

    Attributes:
        columns: (L,) the numeric column that is looked up.
        along: (L,) the numeric column that it is a line of; -1 for none.
        keys: (MOST_KEYS, L) the columns to look up by, as indices of the schema; the last one
            again where there are fewer.
        strides: (MOST_KEYS, L) by which the event of each key is multiplied; 0 of a key again.
        start: (L,) where the table of each lookup begins.
        table: (T, LINE) of the lines: a point's x and y, the slope, one over how many records they
            are of, and over these' sum of squares about x; NaN where there is none.
        low, middle, high: (L,) what is left of the number lies within these limits.
        known: the events of records, see `vaewatch.scoring.features.known`.
        fitted: (L,) the looked-up column, as an index of the schema.
        members: (L, C) the columns of each lookup.
    """

    columns: Ints
    along: Ints
    keys: Ints
    strides: Ints
    start: Ints
    table: Numbers
    low: Numbers
    middle: Numbers
    high: Numbers
    known: KnownValues
    fitted: Ints
    members: Bools

    @classmethod
    def of(cls, schema: Schema, levels: LevelsOf, lookups: Sequence[Lookup]) -> Lookups | None:
        """Return the tables; None without a lookup."""
        if not lookups:
            return None
        at = {name: i for i, name in enumerate(schema.names)}
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        sizes = [events_of(column, levels) for column in schema.columns]
        tables, strides = [], []
        for each in lookups:
            own = [sizes[at[name]] for name in each.by]
            stride = [math.prod(own[i + 1 :]) for i in range(len(own))]
            strides.append([*stride, 0][:MOST_KEYS])
            table = np.full((math.prod(own), LINE), np.nan)
            rows = np.array(each.rows, np.float64)
            codes = rows[:, : len(own)].astype(np.int64)
            table[codes @ np.array(stride)] = rows[:, len(own) :]
            tables.append(table)
        return cls(
            columns=ints(numeric[each.column] for each in lookups),
            along=ints(numeric[each.along] if each.along else -1 for each in lookups),
            keys=np.array([[at[each.by[0]], at[each.by[-1]]] for each in lookups]).T,
            strides=np.array(strides).T,
            start=np.cumsum([0, *map(len, tables)])[:-1],
            table=np.concatenate(tables),
            low=floats(each.low for each in lookups),
            middle=floats(each.middle for each in lookups),
            high=floats(each.high for each in lookups),
            known=KnownValues.of(schema, levels, {name for each in lookups for name in each.by}),
            fitted=ints(at[each.column] for each in lookups),
            members=np.array([np.isin(schema.names, each.names) for each in lookups]),
        )

    def broken(self, numbers: Numbers, codes: NDArray[np.int32]) -> Bools:
        """Return which lookups N records break, (N, L).

        One that misses a number, or finds nothing, is not. Rounding to single or half precision
        breaks none.

        Args:
            numbers: (N, numeric columns), NaN where missing. codes: (N, discrete columns).
        """
        places = self._places(self.known.read(numbers, codes))
        first, slope = self._straight
        y = self._y(numbers)
        left = y - first.take(places)
        if self._has_lines:
            left -= slope.take(places) * self._x(numbers)
        out = np.abs(left) > self._narrow + NEAR * np.abs(y)  # all that could be broken
        if np.count_nonzero(out):
            rows = np.flatnonzero(out.any(1))
            out[rows] = self._broken(numbers[rows], places[rows])
        return np.asarray(out)

    def mark(self, numbers: Numbers, codes: NDArray[np.int32], unseen: Bools) -> bool:
        """Mark a column of each broken lookup of N records; return whether any is broken.

        Args:
            unseen: (N, C).
        """
        return mark(unseen, self.broken(numbers, codes), self.members, self.fitted)

    def involved(self, numbers: Numbers, codes: NDArray[np.int32]) -> Bools:
        """Return the columns of the lookups that N records break, (N, C)."""
        return np.asarray(self.broken(numbers, codes) @ self.members)

    def mended(self, numbers: Numbers, codes: NDArray[np.int32], columns: Ints) -> Numbers:
        """Return the numbers that mend broken lookups of N records, (N,); NaN where none does.

        Args:
            columns: (N,) the numeric column that is to be mended.
        """
        places, at = self._places(self.known.read(numbers, codes)), np.arange(len(numbers))
        centre, value, slope, _, _ = np.moveaxis(self.table[places], -1, 0)
        y, x = self._y(numbers), self._x(numbers)
        broken = self._broken(numbers, places)
        out = np.full(len(numbers), np.nan)
        with np.errstate(all="ignore"):
            near = np.broadcast_to((self.high - self.low) / 2, y.shape)
            for column, number, slack in (
                (self.columns, value + slope * (x - centre) + self.middle, near),
                (self.along, centre + (y - self.middle - value) / slope, near / np.abs(slope)),
            ):
                some = broken & (column == columns[:, None]) & np.isfinite(number)
                first = at, some.argmax(1)
                out = np.where(some.any(1), _short(number[first], slack[first]), out)
        return out

    def excluded(self, numbers: Numbers, codes: NDArray[np.int32], column: int) -> Bools:
        """Return with which values of a column N records would break a lookup that they break, or
        have none, (N, events).

        Args:
            column: one to look up by, as an index of the schema.
        """
        events = self.known.read(numbers, codes)
        places, every = self._places(events), np.arange(self._size(column))
        broken = self._broken(numbers, places)
        out = np.zeros((len(numbers), len(every)), bool)
        for key, stride in zip(self.keys, self.strides, strict=True):
            for each in np.flatnonzero((key == column) & (stride > 0)).tolist():
                rest = places[:, each] - events[:, column] * stride[each]
                others = rest[:, None] + every * stride[each]
                y, x = self._y(numbers)[:, [each]], self._x(numbers)[:, [each]]
                none = np.isnan(self.table[others, 0])
                out |= (self._beyond(y, x, others, each) | none) & broken[:, [each]]
        return out

    def _size(self, column: int) -> int:
        """Return how many events a column has by which numbers are looked up, 0 of another."""
        ends = np.append(self.start[1:], len(self.table))
        first, second = self.keys == column
        sizes = np.where(first, (ends - self.start) // self.strides[0], second * self.strides[0])
        return int(sizes.max(initial=0))

    @cached_property
    def _straight(self) -> tuple[Numbers, Numbers]:
        """What a usual record has where x is 0, and the slopes, (T,) each."""
        centre, value, slope, _, _ = self.table.T
        middle = np.repeat(self.middle, np.diff([*self.start, len(self.table)]))
        return value - slope * centre + middle, slope.copy()

    @cached_property
    def _narrow(self) -> Numbers:
        """How far the nearer limit is from the middle, (L,)."""
        return np.minimum(self.high - self.middle, self.middle - self.low)

    def _places(self, events: Ints) -> Ints:
        """Return where the events of N records are in the tables, (N, L)."""
        first, second = (events.take(keys, axis=1) for keys in self.keys)
        return np.asarray(first * self.strides[0] + second * self.strides[1] + self.start)

    def _y(self, numbers: Numbers) -> Numbers:
        """Return the looked-up numbers of N records, (N, L)."""
        return numbers.take(self.columns, axis=1)

    def _x(self, numbers: Numbers) -> Numbers:
        """Return the numbers that they are lines of, (N, L); 0 for none."""
        return np.where(self.along < 0, 0.0, numbers.take(self.along, axis=1, mode="wrap"))

    @cached_property
    def _has_lines(self) -> bool:
        return bool((self.along >= 0).any())

    def _broken(self, numbers: Numbers, places: Ints) -> Bools:
        every = np.arange(len(self.columns))
        return self._beyond(self._y(numbers), self._x(numbers), places, every)

    def _beyond(self, y: Numbers, x: Numbers, places: Ints, which: Ints | int) -> Bools:
        """Return which numbers are not on their lines, (N, K).

        Args:
            y, x: (N, K). places: (N, K) in the tables. which: of the lookups.
        """
        low, middle, high = (end[which] for end in (self.low, self.middle, self.high))
        centre, value, slope, of_count, of_spread = np.moveaxis(self.table[places], -1, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = x - centre
            left = y - value - slope * apart - middle
            # The line has an error, too: by its leverage.
            wider = 1.0 + np.sqrt(of_count + of_spread * apart**2)
            low, high = (low - middle) * wider, (high - middle) * wider
            out = np.asarray((left < low) | (left > high))
            if np.count_nonzero(out):
                halves = are_halves(y) & are_halves(x) & (show_halves(y) | show_halves(x))
                rounding = np.where(halves, FLOAT16_ROUNDING, FLOAT32_ROUNDING)
                slack = rounding * (np.abs(y) + np.abs(value) + np.abs(slope * x))
                out = np.asarray((left < low - slack) | (left > high + slack))
        return out


def _short(numbers: Numbers, slack: Numbers) -> Numbers:
    """Return (N,) numbers in as few digits as keep them within slack, (N,)."""
    out = rounded(numbers, MOST_DIGITS)
    for digits in range(MOST_DIGITS, 0, -1):
        short = rounded(numbers, digits)
        out = np.where(np.abs(short - numbers) <= slack, short, out)
    return out


def check_lookups(
    schema: Schema, features: Sequence[Feature], levels: LevelsOf, lookups: Sequence[Lookup]
) -> None:
    """Check that lookups are of columns with a number, by values that others know.

    Raises:
        ArtifactError: training cannot have written them.
    """
    sizes = {column.name: events_of(column, levels) for column in schema.columns}
    numbers = {f.column for f in features if f.code is None}
    for each in lookups:
        own = each.names
        limits = (-math.inf, each.low, each.middle, each.high, math.inf)
        if not (
            {each.column, each.along or each.column} <= numbers
            and sizes.keys() >= set(own)
            and len(set(own)) == len(own)
            and 1 <= len(each.by) <= MOST_KEYS
            and math.prod(sizes[name] for name in each.by) <= MOST_PLACES
            and each.rows
            and all(_is_row(row, [sizes[name] for name in each.by]) for row in each.rows)
            and all(low <= high for low, high in pairwise(limits))
            and math.isfinite(each.high - each.low)
        ):
            raise ArtifactError(
                f"the lookup of column '{one_line(each.column)}' is not one that training writes."
            )


def _is_row(row: Sequence[float], sizes: Sequence[int]) -> bool:
    """Return whether a row has an event of each key, and a line."""
    if len(row) != len(sizes) + LINE or not all(map(math.isfinite, row)):
        return False
    events = zip(row, sizes, strict=False)
    return min(row[-2:]) >= 0 and all(e == int(e) and 0 <= e < size for e, size in events)
