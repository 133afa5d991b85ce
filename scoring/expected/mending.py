"""a record that breaks a rule between columns -> what is expected in each of these columns.

A rule is a relation, a lookup or an exclusion. Any of its columns may be the wrong one. The
network tells: with the right one mended, the record is as usual. If no single one mends all, then
more than one is wrong. What the record costs is then put down to the columns it was marked in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE, Cells
from vaewatch.scoring.expected.expectation import Expected
from vaewatch.scoring.expected.numbers import DIGITS, ExpectedNumbers
from vaewatch.scoring.features.feature import ints, rounded
from vaewatch.scoring.features.known import GIVEN, KNOWN, MISSING
from vaewatch.scoring.features.shared import codes_of
from vaewatch.scoring.features.vectorizer import ColumnFeatures, Vectorizer
from vaewatch.scoring.schema import other_code
from vaewatch.scoring.table import Table

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Broken:
    """N records, and the columns of the rules that they break.

    Attributes:
        related, looked_up, excluded: (N, C) by relations, lookups and exclusions.
    """

    table: Table
    related: Bools
    looked_up: Bools
    excluded: Bools

    @property
    def columns(self) -> Bools:
        return self.related | self.looked_up | self.excluded

    def take(self, rows: Ints) -> Broken:
        own = (self.related, self.looked_up, self.excluded)
        return Broken(self.table.take(rows), *(each[rows] for each in own))


@dataclass(frozen=True)
class Mending:
    """Mends what breaks a rule between columns."""

    vectorizer: Vectorizer
    expected: ExpectedNumbers

    @classmethod
    def of(cls, vectorizer: Vectorizer, expected: ExpectedNumbers) -> Mending | None:
        """Return what mends by an artifact's rules; None where it has none."""
        rules = (vectorizer.related, vectorizer.looked_up, vectorizer.excluded)
        if all(own is None for own in rules):
            return None
        return cls(vectorizer, expected)

    def broken(self, table: Table) -> Broken:
        """Return the columns of the rules that N records break."""
        none = np.zeros((len(table), len(table.schema.columns)), bool)
        own = self.vectorizer
        return Broken(
            table,
            none if own.related is None else own.related.involved(table.numbers),
            none if own.looked_up is None else own.looked_up.involved(table.numbers, table.codes),
            none if own.excluded is None else own.excluded.involved(table.numbers, table.codes),
        )

    def excluded(self, broken: Broken, cells: Cells) -> Bools:
        """Return the features that the rest of each record rules out in M cells, (M, D); where
        exclusions rule out all of a column, those that more of them do than need be.
        """
        out = np.zeros(cells.features.shape, bool)
        own, table = list(self.vectorizer.by_column.values()), broken.table
        for rules, columns, some_is_left in (
            (self.vectorizer.excluded, broken.excluded, True),
            (self.vectorizer.looked_up, broken.looked_up, False),
        ):
            involved = columns[np.arange(len(out)), cells.columns]
            for column in np.unique(cells.columns[involved]).tolist():
                if rules is None:
                    break
                rows = np.flatnonzero(involved & (cells.columns == column))
                events = rules.excluded(table.numbers[rows], table.codes[rows], column)
                features, against = self._against(own[column], column, events.astype(np.int64))
                if against.size:
                    least = against.min(1, keepdims=True) if some_is_left else 0
                    out[rows[:, None], features] |= against > least
        return out

    def _against(self, own: ColumnFeatures, column: int, events: Ints) -> tuple[Ints, Ints]:
        """Return the features of a column, (K,), and how much of N records rules out each, (N, K).

        Args:
            events: (N, events) how much rules out each of the column's.
        """
        if not events.size:  # a number that is looked up
            return ints(()), events
        if own.column.is_number:
            given = events[:, _possible(events.shape[1], self._has_zero[column])].min(1)
            both = ((own.number, given), (own.flag, events[:, MISSING]))
            some = [(feature, each) for feature, each in both if feature is not None]
            against = np.array([each for _, each in some], np.int64).reshape(-1, len(events))
            return ints(feature for feature, _ in some), against.T
        features = np.arange(own.events.start, own.events.stop)
        codes = self._codes[features]
        against = events[:, codes]
        if column in self._shared:
            of_any = events[:, self._shared[column]].min(1, keepdims=True)
            against[:, codes == other_code(own.column)] = of_any
        return features, against

    def mend(
        self, broken: Broken, records: Ints, cells: Cells, expected: Expected, unseen: Bools
    ) -> None:
        """Let the rules say what is expected in the cells that they concern, in place.

        Args:
            broken: the record of each of M cells, which is the same for some, by `records`, (M,).
            unseen: (M, C) what is unseen with what is expected.
        """
        own = np.flatnonzero(broken.columns[np.arange(len(records)), cells.columns])
        table, columns = broken.table.take(own), cells.columns[own]
        events = expected.events[own]
        numbers = self._within(table, columns, expected.numbers[own])
        for mended in (
            self._looked_up(table, columns, broken.looked_up[own]),
            self._related(table, columns, broken.related[own], numbers),
        ):
            found = np.isfinite(mended) & self.expected.may_be(columns, mended)
            numbers, events = np.where(found, mended, numbers), np.where(found, NONE, events)
        codes = self._named(table, columns, events)
        after = self._replaced(table, columns, numbers, events, codes)
        before, features = self._apart.transform(table), self._apart.transform(after)
        marks, left = self._marks(table), self._marks(after)
        fewer = _count(features.unseen | left) < _count(before.unseen | marks)
        whole = np.isin(records[own], records[own][fewer])  # mended by one of the cells
        put_down = marks[np.arange(len(own)), columns]
        left[put_down & ~whole] = False
        expected.features[own], expected.events[own] = features.values, events
        expected.codes[own] = codes
        expected.numbers[own], unseen[own] = numbers, features.unseen | left

    def _within(self, table: Table, columns: Ints, numbers: Numbers) -> Numbers:
        """Return numbers as near as the values of each record leave them, (N,)."""
        rules = self.vectorizer.excluded
        if rules is None:
            return numbers
        low, high = rules.limits(table.numbers, table.codes, columns)
        inside = rounded(np.clip(numbers, low, high), DIGITS)
        beyond = (numbers < low) | (numbers > high)
        out = np.where(beyond, self.expected.possible(columns, inside), numbers)
        for column in np.unique(columns).tolist():
            rows = np.flatnonzero((columns == column) & ~np.isnan(numbers))
            values, period = rules.known.numbers(column)
            if not len(rows) or not (self._has_zero[column] or len(values)):
                continue
            ruled_out = rules.excluded(table.numbers[rows], table.codes[rows], column)
            known = ruled_out[:, KNOWN:]
            if self._has_zero[column]:
                out[rows[ruled_out[:, GIVEN] > known[:, 0]]] = 0.0
            else:
                more = known > known.min(1, keepdims=True)
                out[rows] = _allowed(out[rows], values, period, more)
        return out

    def _looked_up(self, table: Table, columns: Ints, involved: Bools) -> Numbers:
        """Return the numbers that mend lookups, (N,); NaN where no broken one has the column."""
        out, rules = np.full(len(columns), np.nan), self.vectorizer.looked_up
        rows = np.flatnonzero(involved[np.arange(len(columns)), columns] & self._numeric[columns])
        if rules is None or not len(rows):
            return out
        some = columns[rows]
        found = rules.mended(table.numbers[rows], table.codes[rows], self._place[some])
        out[rows] = self.expected.possible(some, found)
        return out

    def _related(self, table: Table, columns: Ints, involved: Bools, usual: Numbers) -> Numbers:
        """Return the numbers that mend relations, (N,); NaN where no broken one has the column."""
        out, rules = np.full(len(columns), np.nan), self.vectorizer.related
        rows = np.flatnonzero(involved[np.arange(len(columns)), columns])
        if rules is None or not len(rows):
            return out
        some = columns[rows]

        def possible(numbers: Numbers) -> Numbers:
            return self.expected.possible(some, numbers)

        out[rows] = rules.mended(table.numbers[rows], self._place[some], usual[rows], possible)
        return out

    def _named(self, table: Table, columns: Ints, events: Ints) -> Ints:
        """Return the code of the event that is expected in a column of N records, (N,), NONE where
        it is a number. Of those that share an indicator it is the most frequent name that the
        rest of the record does not rule out.
        """
        out, rules = np.where(events == NONE, NONE, self._codes[events]), self.vectorizer.excluded
        schema = self.vectorizer.schema
        for column, codes in self._shared.items():
            rows = np.flatnonzero(
                (columns == column) & (out == other_code(schema.columns[column]))
            )
            if rules is not None and len(rows):
                ruled_out = rules.excluded(table.numbers[rows], table.codes[rows], column)
                out[rows] = codes[ruled_out[:, codes].argmin(1)]
        return out

    def _replaced(
        self, table: Table, columns: Ints, numbers: Numbers, events: Ints, codes: Ints
    ) -> Table:
        """Return N records, each with an event or a number in one column."""
        after = replace(table, numbers=table.numbers.copy(), codes=table.codes.copy())
        place, rows = self._place[columns], np.arange(len(columns))
        numeric = self._numeric[columns]
        given = np.where(events == NONE, numbers, np.nan)
        after.numbers[rows[numeric], place[numeric]] = given[numeric]
        some = ~numeric & (events != NONE)
        after.codes[rows[some], place[some]] = codes[some]
        return after

    def _marks(self, table: Table) -> Bools:
        """Return the columns that broken rules of N records are put down to, (N, C)."""
        marks = np.zeros((len(table), len(table.schema.columns)), bool)
        if self.vectorizer.related is not None:
            self.vectorizer.related.mark(table.numbers, marks)
        if self.vectorizer.excluded is not None:
            self.vectorizer.excluded.mark(table.numbers, table.codes, marks)
        if self.vectorizer.looked_up is not None:
            self.vectorizer.looked_up.mark(table.numbers, table.codes, marks)
        return marks

    @cached_property
    def _apart(self) -> Vectorizer:
        """What reads records, whatever rules they break."""
        return replace(self.vectorizer, relations=(), exclusions=(), lookups=())

    @cached_property
    def _place(self) -> Ints:
        """The place of each column of the schema among those of its kind, (C,)."""
        schema = self.vectorizer.schema
        return np.array([schema.place[name] for name in schema.names])

    @cached_property
    def _numeric(self) -> Bools:
        return np.array([column.is_number for column in self.vectorizer.schema.columns])

    @cached_property
    def _has_zero(self) -> list[bool]:
        """Whether each column knows 0 among other numbers, (C,)."""
        return [name in self.vectorizer.zeros for name in self.vectorizer.schema.names]

    @cached_property
    def _codes(self) -> Ints:
        """The code that each feature indicates, (D,); 0 for numbers."""
        return np.array([feature.code or 0 for feature in self.vectorizer.features])

    @cached_property
    def _shared(self) -> dict[int, Ints]:
        """The codes of each column that share an indicator, most frequent first."""
        schema, shared = self.vectorizer.schema, self.vectorizer.shared
        own = {i: codes_of(c, shared.get(c.name, ())) for i, c in enumerate(schema.columns)}
        return {i: codes for i, codes in own.items() if len(codes)}


def _allowed(numbers: Numbers, values: Numbers, period: float, ruled_out: Bools) -> Numbers:
    """Return N numbers, or in place of those that are ruled out the nearest values that are not.

    Args:
        values: (V,) known ones, that come round after the period. ruled_out: (N, V).
    """
    far = np.abs(numbers[:, None] - values)
    far = np.minimum(far, period - far)
    own, at = far.argmin(1), np.arange(len(numbers))
    nearest = np.where(ruled_out, np.inf, far).argmin(1)
    replace = ruled_out[at, own] & ~ruled_out[at, nearest]
    return np.where(replace, values[nearest], numbers)


def _possible(events: int, has_zero: bool) -> Ints:
    """Return which of the events of a column of numbers a number may be."""
    if events == KNOWN:
        return ints([GIVEN])
    return ints([*[GIVEN] * has_zero, *range(KNOWN, events)])


def _count(unseen: Bools) -> Ints:
    return np.asarray(unseen.sum(1))
