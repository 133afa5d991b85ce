"""columns of a table -> exclusions: what a category never came with, however often it could have.

How often it could have is what would be expected if the two did not depend on each other: in each
tenth of the records, by time, the product of how often each came, as what is sold in June only
says nothing of a town where one sells in May. If that is 100 or more and it never was, then it
depends, and what has been ruled out so often will hardly come: of a share p of the records n have
none with a chance of (1 - p)^n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.exclusions import events_of
from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.spelling.categories import half, is_half
from vaewatch.scoring.table import Table
from vaewatch.training.unseen.known import by_time, spread
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import limits_of

EXPECTED = 100  # times that what never came would have come by chance
TENTHS = 10
UNITS = 10.0  # of a tail: fewer than of all numbers, as what lies beyond is known to be possible
SEARCHED = 20_000  # records that are searched before all are looked at
MOST_COLUMNS = 256
MOST_PAIRS = 10_000  # events that exclude each other, so that the manifest stays small

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


def exclusions_of(table: Table) -> tuple[Exclusion, ...]:
    """Return what excludes each other in a table of N records."""
    if len(table) < ENOUGH or not 2 <= len(table.schema.columns) <= MOST_COLUMNS:
        return ()
    every = _Events.of(table)
    some = every.take(spread(len(table), SEARCHED))
    found: dict[tuple[str, int, str], Exclusion] = {}
    for one in (*_pairs(every, some), *_ranges(every, some)):
        key = one.column, one.code, one.other
        old = found.get(key, one)
        found[key] = Exclusion(*key, old.events or one.events, old.limits or one.limits)
    return tuple(found.values())


@dataclass(frozen=True)
class _Events:
    """N records in order of time.

    Attributes:
        names: of C columns, discrete ones and those of measured numbers.
        events: (N, C) see `vaewatch.scoring.features.exclusions`. sizes: (C,) how many there are.
        numbers: (N, C) NaN where a column is discrete, or the number missing.
        discrete: (C,).
    """

    names: list[str]
    events: Ints
    sizes: list[int]
    numbers: Numbers
    discrete: NDArray[np.bool_]

    @classmethod
    def of(cls, table: Table) -> _Events:
        schema, rows = table.schema, by_time(table)
        columns = [*schema.measured, *schema.discrete]
        numbers = np.full((len(table), len(columns)), np.nan)
        numbers[:, : len(schema.measured)] = table.numbers[rows, : len(schema.measured)]
        events = np.isnan(numbers).astype(np.int64)
        events[:, len(schema.measured) :] = table.codes[rows]
        return cls(
            [column.name for column in columns],
            events,
            [events_of(column) for column in columns],
            numbers,
            np.arange(len(columns)) >= len(schema.measured),
        )

    def take(self, rows: Ints) -> _Events:
        return _Events(
            self.names, self.events[rows], self.sizes, self.numbers[rows], self.discrete
        )

    def __len__(self) -> int:
        return len(self.events)

    @cached_property
    def tenths(self) -> list[Ints]:
        return [part for part in np.array_split(np.arange(len(self)), TENTHS) if len(part)]

    def counts(self, column: int) -> Numbers:
        """Return how often each event came in each tenth, (tenths, events)."""
        size, own = self.sizes[column], self.events[:, column]
        return np.array([np.bincount(own[part], minlength=size) for part in self.tenths], float)

    def never(self, left: int, right: int) -> NDArray[np.bool_]:
        """Return which two events never came together, (left events, right events)."""
        size = self.sizes[right]
        both = np.bincount(
            self.events[:, left] * size + self.events[:, right], minlength=self.sizes[left] * size
        )
        return np.asarray(both.reshape(-1, size) == 0)


def _pairs(every: _Events, some: _Events) -> Iterator[Exclusion]:
    """Yield events that never came together; where there are too many, those that could have come
    most often.
    """
    found: dict[tuple[int, int], Numbers] = {}
    for left, right, expected in _expected(some):
        enough = expected * len(every) / len(some) >= EXPECTED
        out = enough & some.never(left, right)
        if out.any():
            found[left, right] = np.where(out & every.never(left, right), expected, 0.0)
    least = _nth_largest([own[own > 0] for own in found.values()], MOST_PAIRS)
    for (left, right), own in found.items():
        kept = own >= least
        for code in np.flatnonzero(kept.any(1)).tolist():
            events = tuple(np.flatnonzero(kept[code]).tolist())
            yield Exclusion(every.names[left], code, every.names[right], events)


def _expected(some: _Events) -> Iterator[tuple[int, int, Numbers]]:
    """Yield a discrete and another column, and how often their events would come together by
    chance, (left events, right events).
    """
    counts = [some.counts(column) for column in range(len(some.names))]
    lengths = np.array([len(part) for part in some.tenths])[:, None]
    varying = [c for c, own in enumerate(counts) if np.count_nonzero(own.sum(0)) > 1]
    for right, left in combinations(varying, 2):  # the numeric ones come first
        if some.discrete[left]:
            yield left, right, counts[left].T @ (counts[right] / lengths)


def _nth_largest(values: list[Numbers], n: int) -> float:
    """Return the least value that keeps at most n of those that are more than 0."""
    ascending = np.sort(np.concatenate([np.empty(0), *values]))
    if not len(ascending):
        return math.inf
    return float(ascending[max(len(ascending) - n, 0)])


def _ranges(every: _Events, some: _Events) -> Iterator[Exclusion]:
    """Yield categories of which the numbers of another column have narrower limits."""
    numeric = np.flatnonzero(~every.discrete).tolist()
    share = len(every) / len(some)
    for column in np.flatnonzero(every.discrete).tolist():
        counts = some.counts(column).sum(0) * share
        for code in np.flatnonzero(counts >= ENOUGH).tolist():
            own = some.events[:, column] == code
            for other in numeric:
                limits = _range(some.numbers[:, other], own)
                if (
                    limits is None
                    or _outside(some, column, code, other, limits) * share < EXPECTED
                ):
                    continue
                limits = _limits(every.numbers[every.events[:, column] == code, other])
                if limits is None:
                    continue
                if _outside(every, column, code, other, limits) >= EXPECTED:
                    yield Exclusion(every.names[column], code, every.names[other], limits=limits)


def _range(numbers: Numbers, own: NDArray[np.bool_]) -> tuple[float, float] | None:
    given = numbers[own]
    given = given[~np.isnan(given)]
    return (float(given.min()), float(given.max())) if len(given) else None


def _limits(numbers: Numbers) -> tuple[float, float] | None:
    """Return the limits of a category's numbers, which hold in either half; None without."""
    given = numbers[~np.isnan(numbers)]
    if len(given) < ENOUGH:
        return None
    one, two = np.array_split(given, 2)
    for half_of, other in ((one, two), (two, one)):
        low, high = _all_limits(half_of)
        if other.min() < low or other.max() > high:
            return None
    return _all_limits(given)


def _all_limits(given: Numbers) -> tuple[float, float]:
    limits = limits_of(given, UNITS)
    if limits is not None:
        return limits
    value = float(given[0])  # the only one
    slack = abs(value) * FLOAT32_ROUNDING
    near = half(value) if is_half(half(value)) else value
    return min(value - slack, near), max(value + slack, near)


def _outside(
    every: _Events, column: int, code: int, other: int, limits: tuple[float, float]
) -> float:
    """Return how many of a category's numbers would lie beyond limits if they were as all others
    of their time.
    """
    expected = 0.0
    for part in every.tenths:
        own = every.events[part, column] == code
        numbers = every.numbers[part, other]
        given = ~np.isnan(numbers)
        beyond = (numbers < limits[0]) | (numbers > limits[1])
        others = np.count_nonzero(given & ~own)
        if others:
            share = np.count_nonzero(beyond & ~own) / others
            expected += share * np.count_nonzero(given & own)
    return expected
