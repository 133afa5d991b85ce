"""numbers and values of a table -> lookups: what a number is by what other columns hold.

The distance of two places is the same in each record of theirs, and what a parcel costs is a line
of its weight, another one for each service. If the records of each value, or of each pair of
values, have one number, or lie on one line, then what is left has limits as the residuals of
relations have (`vaewatch.training.unseen.between.relations`), and these must be as narrow.

That it is so by chance is the less probable the more records could have told otherwise: of each
value all but the first, which gives the number, or the first two, which give the line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.between.lookups import MOST_PLACES
from vaewatch.scoring.features.levels import LevelsOf
from vaewatch.scoring.features.state import Lookup, Relation
from vaewatch.training.unseen.between.exclusions import DETERMINED, MOST_PAIRS
from vaewatch.training.unseen.between.lines import Lines, left_in_groups
from vaewatch.training.unseen.between.pursuit import difference, narrowness
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.between.varied import Varied, varies
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.order import spread

SEARCHED = 4_000  # records among which lookups are sought
LEAST_SEARCHED = 50  # of these that could tell otherwise
MOST_PAIRED = 32  # columns that know values of which pairs are looked at
MOST_LINED = 20  # numeric columns of which each may be a line of another one

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
Candidate = tuple[int, int | None, tuple[int, ...]]


def lookups_of(
    every: Together | None, varied: Varied, levels: LevelsOf, relations: tuple[Relation, ...]
) -> tuple[Lookup, ...]:
    """Return the lookups of a table's numeric columns; of each column one.

    Args:
        every: what its columns hold. varied: its numbers.
        relations: of the table; what they say is not looked up.
    """
    if every is None:
        return ()
    search = Search.of(every, varied, levels)
    known = [frozenset(each.names) for each in relations if each.high is not None]
    found: dict[str, Lookup] = {}
    rows = 0
    for target, other, keys in search.candidates():
        names = frozenset(search.names(target, other, keys))
        column = search.every.names[search.at[target]]
        if column in found or any(own <= names for own in known):
            continue
        own = search.lookup(target, other, keys)
        if own is not None and rows + len(own.rows) <= MOST_PAIRS:
            found[column] = own
            known.append(names)
            rows += len(own.rows)
    return tuple(found.values())


@dataclass(frozen=True)
class Search:
    """Looks for the lookups of N records, by time.

    Attributes:
        every: what the columns hold. x: (N, columns) the numbers that vary.
        at: (columns,) the places of these among the columns of `every`.
        keys: the columns that know two values or more.
        levelled: (columns,) whether a column knows its values.
    """

    every: Together
    x: Numbers
    at: list[int]
    keys: list[int]
    levelled: Bools

    @classmethod
    def of(cls, every: Together, varied: Varied, levels: LevelsOf) -> Search:
        keys = [
            column
            for column, known in enumerate(every.known)
            if every.parts[column] is None
            and np.count_nonzero(known & (every.counts[column].sum(0) > 0)) > 1
        ]
        levelled = np.array([name in levels for name in varied.names], bool)
        at = [every.names.index(name) for name in varied.names]
        return cls(every, varied.x, at, keys, levelled)

    def names(self, target: int, other: int | None, keys: tuple[int, ...]) -> list[str]:
        places = [self.at[own] for own in (target, other) if own is not None]
        return [self.every.names[place] for place in (*places, *keys)]

    def candidates(self) -> Iterator[Candidate]:
        """Yield a column, which one it may be a line of, and by which columns, the simple ones
        first.
        """
        rows = spread(len(self.x), SEARCHED)
        x = self.x[rows]
        apart = np.array([difference(own[~np.isnan(own)]) for own in x.T])
        known = dict[int, Bools]()  # which columns each key alone determines
        for keys in (*((key,) for key in self.keys), *self._pairs()):
            narrow = (
                left_in_groups(self._groups(keys, rows), x, None, LEAST_SEARCHED)
                <= (narrowness(False) * apart) ** 2
            )
            narrow[[self.at.index(key) for key in keys if key in self.at]] = False
            if len(keys) == 1:
                known[keys[0]] = narrow
                narrow = narrow & ~self.levelled  # that values rule out others is an exclusion
            else:
                narrow &= ~known[keys[0]] & ~known[keys[1]]
            for target in np.flatnonzero(narrow).tolist():
                yield target, None, keys
        if x.shape[1] > MOST_LINED:
            return
        for key in self.keys:
            groups = self._groups((key,), rows)
            for other in range(x.shape[1]):
                left = left_in_groups(groups, x, x[:, other], LEAST_SEARCHED)
                narrow = left <= (narrowness(True) * apart) ** 2
                for target in np.flatnonzero(narrow & ~known[key] & ~self.levelled).tolist():
                    if len({self.at[target], self.at[other], key}) == 3:
                        yield target, other, (key,)

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the pairs of keys that are not too many, nor too large."""
        for pair in combinations(self.keys, 2) if len(self.keys) <= MOST_PAIRED else ():
            if math.prod(self.every.sizes[key] for key in pair) <= MOST_PLACES:
                yield pair

    def lookup(self, target: int, other: int | None, keys: tuple[int, ...]) -> Lookup | None:
        """Return what a column is by others; None if they do not tell."""
        y, groups = self.x[:, target], self._groups(keys, np.arange(len(self.x)))
        x = np.zeros(len(y)) if other is None else self.x[:, other]
        rows = np.flatnonzero((groups >= 0) & ~np.isnan(x) & ~np.isnan(y))
        if len(rows) < ENOUGH or not varies(y[rows]):
            return None
        values, own = np.unique(groups[rows], return_inverse=True)
        lines = Lines(own, len(values), x[rows], y[rows], sloped=other is not None)
        narrow = narrowness(other is not None) * difference(y[rows])
        if lines.told < DETERMINED or lines.limits.width > narrow:
            return None
        if not lines.holds_in_halves(LEAST_SEARCHED):
            return None
        low, middle, high = lines.limits
        names = self.names(target, other, keys)
        return Lookup(
            column=names[0],
            by=tuple(self.every.names[key] for key in keys),
            rows=tuple(self._rows(lines, values, keys)),
            low=low,
            middle=middle,
            high=high,
            along=None if other is None else names[1],
        )

    def _rows(
        self, lines: Lines, values: Ints, keys: tuple[int, ...]
    ) -> Iterator[tuple[float, ...]]:
        """Yield the codes and the line of each group that tells of its next record."""
        sizes = [self.every.sizes[key] for key in keys]
        codes = np.array(np.unravel_index(values, sizes)).T
        of_x = 1 / lines.spread[lines.known] if lines.sloped else np.zeros(lines.known.sum())
        columns = (lines.centre, lines.value, lines.slope, 1 / lines.count)
        table = np.column_stack([own[lines.known] for own in columns] + [of_x])
        for code, row in zip(codes[lines.known].tolist(), table.tolist(), strict=True):
            yield (*code, *row)

    def _groups(self, keys: tuple[int, ...], rows: Ints) -> Ints:
        """Return which values of some columns n records have, as one number, (n,); -1 where one is
        none of those that the column knows.
        """
        events = self.every.events[np.ix_(rows, np.array(keys))]
        sizes = [self.every.sizes[key] for key in keys]
        known = [self.every.known[key][own] for key, own in zip(keys, events.T, strict=True)]
        return np.where(np.all(known, axis=0), np.ravel_multi_index(tuple(events.T), sizes), -1)
