"""records -> how often what two columns hold came together, and how often it could have.

By chance, two values come together as if the columns did not depend on each other: in each tenth
of the records, by time, the product of how often each comes, as what is sold in June only says
nothing of a town where one sells in May.

What comes at one time comes together: an alarm that is on for an hour is one chance for a pump
that runs for hours, not sixty. But of what comes and goes by itself each record is a chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.absent import COUNTED
from vaewatch.scoring.features.known import KNOWN, KnownValues, events_of, with_zeros
from vaewatch.scoring.features.levels import LevelsOf
from vaewatch.scoring.schema import PLACES, Column, Kind
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.parts import Part
from vaewatch.training.unseen.calendar import Calendar, near
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.order import TENTHS, by_time, series_by_time, spread

MOST_COLUMNS = 256  # among which rules are sought

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Together:
    """N records in order of time.

    Attributes:
        names: of C columns, those of numbers first.
        events: (N, C) see `vaewatch.scoring.features.known`. sizes: (C,) how many there are.
        numbers: (N, C) NaN where a column does not measure, or the number is missing.
        parts: (C,) the hour or the weekday, where a column is one.
        known: (C)(events,) which are one value each, not a missing one or one of several, of
            columns that know all their values.
        discrete: (C,) whether a column is one of codes. zeros: whether 0 is a value of its own.
        calendar: of the records.
        series: (N,) their places one after the other, as each entity brought them.
    """

    names: list[str]
    events: Ints
    sizes: list[int]
    numbers: Numbers
    parts: list[Part | None]
    known: list[Bools]
    discrete: list[bool]
    zeros: list[bool]
    calendar: Calendar
    series: Ints

    @classmethod
    def of(cls, table: Table, levels: LevelsOf, zeros: Sequence[str] = ()) -> Together | None:
        """Return what a table's columns hold; None if its records are too few, or its columns too
        many.
        """
        if len(table) < ENOUGH or not 2 <= len(table.schema.columns) <= MOST_COLUMNS:
            return None
        schema, rows = table.schema, by_time(table)
        columns = [*schema.numeric, *schema.discrete]
        numbers = np.full((len(table), len(columns)), np.nan, order="F")
        numbers[:, : len(schema.measured)] = table.numbers[rows, : len(schema.measured)]
        values = with_zeros(levels, zeros)
        known = KnownValues.of(schema, levels, schema.names, zeros)
        at = [schema.names.index(column.name) for column in columns]
        return cls(
            names=[column.name for column in columns],
            events=np.asfortranarray(known.read(table.numbers[rows], table.codes[rows])[:, at]),
            sizes=[events_of(column, values) for column in columns],
            numbers=numbers,
            parts=[column.part if column.part in COUNTED else None for column in columns],
            known=[_known(column, values) & (column.name not in zeros) for column in columns],
            discrete=[not column.is_number for column in columns],
            zeros=[column.name in zeros for column in columns],
            calendar=Calendar.of(table).take(rows),
            series=series_by_time(table),
        )

    def some(self, most: int) -> Together:
        """Return at most so many of the records, from the first to the last."""
        rows = spread(len(self), most)
        return replace(
            self,
            events=np.asfortranarray(self.events[rows]),
            numbers=np.asfortranarray(self.numbers[rows]),
            calendar=self.calendar.take(rows),
            series=np.arange(len(rows)),  # a run is shorter where records are left out
        )

    def __len__(self) -> int:
        return len(self.events)

    def is_long(self, column: int) -> bool:
        """Return whether a column has more names than the network has indicators for."""
        return self.discrete[column] and self.sizes[column] > PLACES + 2

    @cached_property
    def tenths(self) -> list[Ints]:
        return [part for part in np.array_split(np.arange(len(self)), TENTHS) if len(part)]

    @cached_property
    def counts(self) -> list[Numbers]:
        """How often each event of each column came in each tenth, (C)(tenths, events)."""
        return [
            np.array([np.bincount(own[part], minlength=size) for part in self.tenths], float)
            for own, size in zip(self.events.T, self.sizes, strict=True)
        ]

    @cached_property
    def clumps(self) -> list[Numbers]:
        """How many records in a row share each event of each column, (C)(events,). Of a time they
        are not asked for, as its days are counted, see `often`.
        """
        columns = zip(self.events.T, self.sizes, self.parts, strict=True)
        return [
            self._clumps(own, size) if part is None else np.ones(size)
            for own, size, part in columns
        ]

    def chances(self, left: int, right: int) -> Numbers:
        """Return how often two events could have come together, (left events, right events)."""
        lengths = np.array([len(part) for part in self.tenths])[:, None]
        by_chance = self.counts[left].T @ (self.counts[right] / lengths)
        return np.asarray(by_chance / np.minimum(self.clumps[left][:, None], self.clumps[right]))

    def came(self, left: int, right: int) -> Ints:
        """Return how often two events came together in either half of the records, (2, left
        events, right events); those of an hour count as of the hours beside it, too.
        """
        sizes = self.sizes[left], self.sizes[right]
        both = self.events[:, left] * sizes[1] + self.events[:, right]
        halves = np.array_split(both, 2)
        out = np.array([np.bincount(half, minlength=sizes[0] * sizes[1]) for half in halves])
        out = out.reshape(2, *sizes)
        for column, own in ((left, out.swapaxes(1, 2)), (right, out)):
            part = self.parts[column]
            if part is not None:
                own[..., KNOWN:] = near(own[..., KNOWN:], part)
        return out

    def often(self, left: int, right: int) -> Bools:
        """Return which two events could have come together on enough days or in enough weeks,
        (left events, right events); where neither is of a time, all.
        """
        parts = {self.parts[left], self.parts[right]} - {None}
        out = np.zeros((self.sizes[left], self.sizes[right]), bool)
        if not parts:
            return ~out
        part = Part.WEEKDAY if Part.WEEKDAY in parts else Part.HOUR
        own = self.calendar.often(part, self.events[:, left], self.events[:, right])
        out[: own.shape[0], : own.shape[1]] = own
        return out

    def often_outside(
        self, column: int, code: int, other: int, limits: tuple[float, float], least: float
    ) -> bool:
        """Return whether so many numbers of the records with an event, or more, could have been
        beyond limits, by what those of the other records are: no more of them than are.
        """
        numbers = self.numbers[:, other]
        beyond = (numbers < limits[0]) | (numbers > limits[1])
        most = int(np.count_nonzero(beyond))
        if most < least:
            return False
        own, given = self.events[:, column] == code, ~np.isnan(numbers)
        alike, others = self._by_tenths(given & own), self._by_tenths(given & ~own)
        share = self._by_tenths(beyond & ~own) / np.maximum(others, 1)
        chances = min(float(share @ alike), most)
        if chances < least:
            return False
        clump = self._clumps(beyond.astype(np.int64), 2)[1]
        return bool(chances / min(clump, self.clumps[column][code]) >= least)

    def _by_tenths(self, chosen: Bools) -> Ints:
        """Return how many of the records are chosen in each tenth, (tenths,)."""
        starts = [part[0] for part in self.tenths]
        return np.add.reduceat(chosen, starts, dtype=np.int64)

    def _clumps(self, events: Ints, size: int) -> Numbers:
        """Return by how much fewer runs each event has than if records came in any order."""
        own = events[self.series]
        counts = np.bincount(own, minlength=size)
        runs = np.bincount(own[np.flatnonzero(np.diff(own, prepend=-1))], minlength=size)
        apart = counts * (1 - counts / len(own))
        return np.maximum(apart / np.maximum(runs, 1), 1.0)


def _known(column: Column, levels: LevelsOf) -> Bools:
    every = np.arange(events_of(column, levels))
    if column.is_number:
        return np.asarray(every >= KNOWN)
    return np.asarray(every < (2 if column.kind is Kind.BOOLEAN else len(column.categories)))
