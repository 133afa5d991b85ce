"""values that rule out what other columns hold -> which records have both.

A potassium of 42 is not far out where sodium is 140, and a pregnant patient is nothing new, but a
pregnant man is. `vaewatch.training.unseen.between.exclusions` says what a category never came
with. A record with both has an unseen value in one of the two columns
(`vaewatch.scoring.features.between.marks`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.between.marks import mark
from vaewatch.scoring.features.feature import Feature, ints
from vaewatch.scoring.features.known import GIVEN, KNOWN, KnownValues, events_of, with_zeros
from vaewatch.scoring.features.levels import LevelsOf
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

LARGEST = 200_000_000  # pairs of events, with those that do not exclude each other: bytes

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Exclusions:
    """Lookup tables for P pairs of columns, and what each record has of them.

    Attributes:
        left, right: (P,) the columns of each pair, by their index in the schema.
        start: (P,) where the table of each pair begins; width: (P,) how long its rows are.
        table: (T,) whether an event of the left column, the row, excludes one of the right.
        first: (P,) where the limits of each pair begin, one for each event of the left column.
        low, high: (L,) numbers of the right column beyond them are excluded; infinite for none.
        known: the events of records, see `vaewatch.scoring.features.known`.
        sizes: (C,) how many events each column of the schema has.
    """

    left: Ints
    right: Ints
    start: Ints
    width: Ints
    table: Bools
    first: Ints
    low: Numbers
    high: Numbers
    known: KnownValues
    sizes: Ints

    @classmethod
    def of(
        cls,
        schema: Schema,
        levels: LevelsOf,
        exclusions: Sequence[Exclusion],
        zeros: Sequence[str] = (),
    ) -> Exclusions | None:
        """Return the tables; None where nothing is excluded."""
        if not exclusions:
            return None
        at = {name: i for i, name in enumerate(schema.names)}
        pairs: dict[tuple[int, int], list[Exclusion]] = defaultdict(list)
        for each in exclusions:
            pairs[at[each.column], at[each.other]].append(each)
        values = with_zeros(levels, zeros)
        sizes = ints(events_of(column, values) for column in schema.columns)
        tables, limits = [], []
        for (left, right), own in pairs.items():
            table = np.zeros((sizes[left], sizes[right]), bool)
            limit = np.tile([-math.inf, math.inf], (sizes[left], 1))
            for each in own:
                table[each.code, list(each.events)] = True
                if each.but is not None:
                    table[each.code] = True
                    table[each.code, list(each.but)] = False
                if schema.columns[right].is_number and GIVEN in each.events:
                    table[each.code, KNOWN:] |= each.other not in zeros
                limit[each.code] = each.limits or limit[each.code]
            tables.append(table)
            limits.append(limit)
        columns = np.array(list(pairs), np.int64)
        low, high = np.concatenate(limits).T
        return cls(
            left=columns[:, 0],
            right=columns[:, 1],
            start=_starts(table.size for table in tables),
            width=ints(table.shape[1] for table in tables),
            table=np.concatenate([table.ravel() for table in tables]),
            first=_starts(len(limit) for limit in limits),
            low=low,
            high=high,
            known=KnownValues.of(
                schema, levels, {schema.names[i] for i in columns.ravel()}, zeros
            ),
            sizes=sizes,
        )

    def broken(self, numbers: Numbers, codes: NDArray[np.int32]) -> Bools:
        """Return which pairs hold what excludes each other in N records, (N, P).

        Args:
            numbers: (N, numeric columns), NaN where missing. codes: (N, discrete columns).
        """
        events, own = self._read(numbers, codes)
        left = events.take(self.left, axis=1)
        out = self.table.take(left * self.width + self.start + events.take(self.right, axis=1))
        at = left + self.first
        out |= own < self.low.take(at)
        out |= own > self.high.take(at)
        return np.asarray(out)

    def mark(self, numbers: Numbers, codes: NDArray[np.int32], unseen: Bools) -> bool:
        """Mark one column of each pair that holds what excludes each other; return whether any
        does.

        Args:
            unseen: (N, C).
        """
        return mark(unseen, self.broken(numbers, codes), self.members, self.right)

    @cached_property
    def members(self) -> Bools:
        """(P, C) the two columns of each pair."""
        every = np.arange(self._columns)
        return np.asarray((every == self.left[:, None]) | (every == self.right[:, None]))

    def involved(self, numbers: Numbers, codes: NDArray[np.int32]) -> Bools:
        """Return the columns of the pairs that N records break, (N, C)."""
        return np.asarray(self.broken(numbers, codes) @ self.members)

    def limits(
        self, numbers: Numbers, codes: NDArray[np.int32], columns: Ints
    ) -> tuple[Numbers, Numbers]:
        """Return what the categories of N records leave to a number of each, (N,) least and most.

        Args:
            columns: (N,) of the number, by their index in the schema.
        """
        events, _ = self._read(numbers, codes)
        at = events.take(self.left, axis=1) + self.first
        own = self.right == columns[:, None]
        low = np.where(own, self.low.take(at), -math.inf).max(1)
        return low, np.where(own, self.high.take(at), math.inf).min(1)

    def excluded(self, numbers: Numbers, codes: NDArray[np.int32], column: int) -> Ints:
        """Return how many other columns of N records rule out each event of one, (N, events)."""
        events, own = self._read(numbers, codes)
        size = int(self.sizes[column])
        out = np.zeros((len(numbers), size), np.int64)
        every = np.arange(size)
        for pair in np.flatnonzero(self.left == column).tolist():
            right = events[:, self.right[pair], None]
            at, number = self.first[pair] + every, own[:, [pair]]
            beyond = (number < self.low[at]) | (number > self.high[at])
            out += self.table[self.start[pair] + every * self.width[pair] + right] | beyond
        for pair in np.flatnonzero(self.right == column).tolist():
            left = events[:, self.left[pair], None]
            out += self.table[self.start[pair] + left * self.width[pair] + every]
        return out

    def _read(self, numbers: Numbers, codes: NDArray[np.int32]) -> tuple[Ints, Numbers]:
        """Return the events of N records, (N, C), and the number on the right of each pair, (N, P)
        or NaN.
        """
        own = np.full((len(numbers), self._columns), np.nan)
        own[:, self.known.numeric] = numbers
        return self.known.read(numbers, codes), own.take(self.right, axis=1)

    @cached_property
    def _columns(self) -> int:
        return len(self.known.numeric) + len(self.known.discrete)


def _starts(sizes: Iterable[int]) -> Ints:
    """Return where pieces of these sizes begin that follow each other."""
    ends = np.cumsum([0, *sizes])
    return np.asarray(ends[:-1], np.int64)


def check_exclusions(
    schema: Schema,
    features: Sequence[Feature],
    levels: LevelsOf,
    exclusions: Sequence[Exclusion],
    zeros: Sequence[str] = (),
) -> None:
    """Check that exclusions are of events that columns have.

    Raises:
        ArtifactError: training cannot have written them.
    """
    known = with_zeros(levels, zeros)
    sizes = {column.name: events_of(column, known) for column in schema.columns}
    numbers = {f.column for f in features if f.code is None}
    if strange := {*zeros} - numbers | {*zeros} & {*levels}:
        raise ArtifactError(
            f"column '{one_line(min(strange))}' has no zero that training gives it."
        )
    pairs = {(each.column, each.other) for each in exclusions}
    if sum(sizes.get(one, 0) * sizes.get(other, 0) for one, other in pairs) > LARGEST:
        raise ArtifactError("the exclusions are of more pairs of values than training writes.")
    for each in exclusions:
        low, high = each.limits or (0.0, 0.0)
        if not (
            each.column != each.other
            and 0 <= each.code < sizes.get(each.column, 0)
            and 0 < sizes.get(each.other, 0)
            and all(0 <= event < sizes[each.other] for event in (*each.events, *(each.but or ())))
            and (each.limits is None or each.other in numbers)
            and -math.inf < low <= high < math.inf
        ):
            raise ArtifactError(
                f"what a value of column '{one_line(each.column)}' excludes is not what training "
                "writes."
            )
