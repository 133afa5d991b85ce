"""numeric columns that know their values -> which numbers are unseen there.

Some columns hold a few values that come again and again, their levels: another number is as unseen
as a new category. Others hold whole numbers only, and a fraction is unseen.
`vaewatch.training.unseen.known` says which columns these are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.feature import Feature, floats, ints
from vaewatch.scoring.features.limits import as_features
from vaewatch.scoring.features.same import FLOAT32_ROUNDING, halves_of, same, tolerance_of
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

LevelsOf = Mapping[str, tuple[float, ...]]  # of a column, in ascending order


@dataclass(frozen=True)
class Ladder:
    """The levels of K columns, in one table that is searched for all of them at once.

    Attributes:
        table: (T,) complex: the column's rank among the K, and as the imaginary part a level. So
            they are sorted by column, and then by level.
        exact: (K,) whether the levels of a column are whole numbers, such as the dates 20250104
            and 20250105, of which single precision makes one.
    """

    table: NDArray[np.complex128]
    exact: NDArray[np.bool_]

    @classmethod
    def of(cls, levels: Sequence[Sequence[float]]) -> Ladder:
        sizes = [len(own) for own in levels]
        table = np.repeat(np.arange(len(levels)), sizes).astype(np.complex128)
        table.imag = np.concatenate([np.empty(0), *map(np.array, levels)])
        return cls(table, np.array([all(map(float.is_integer, own)) for own in levels], bool))

    def around(
        self, ranks: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of the levels next to M numbers in the columns of these ranks, below
        and above, (M,) each; of a number beyond all of its column's, that of the last one twice.
        """
        above = np.minimum(self.table.searchsorted(numbers * 1j + ranks), len(self.table) - 1)
        below = np.maximum(above - 1, 0)
        own = [self.table[places].real == ranks for places in (below, above)]
        return np.where(own[0], below, above), np.where(own[1], above, below)

    def nearest(
        self, ranks: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the level nearest to each of M numbers in the columns of these ranks, (M,)."""
        around = self.around(ranks, numbers)
        below, above = (self.table[places].imag for places in around)
        return np.where(np.abs(numbers - below) <= np.abs(above - numbers), below, above)

    def find(self, ranks: NDArray[np.int64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the places of the levels that M numbers in the columns of these ranks are, (M,);
        -1 where one is none.
        """
        keys = numbers * 1j + ranks
        out = self.table.searchsorted(keys)
        found = self.table.take(out, mode="clip") == keys
        if np.count_nonzero(found) == len(found):
            return np.asarray(out)
        rest = np.flatnonzero(~found)  # those of other digits
        out[rest], values = -1, numbers[rest]
        for near in self.around(ranks[rest], values):
            level, tolerance, halves = (
                each[near] for each in (self.table.imag, self._tolerance, self._halves)
            )
            out[rest] = np.where(same(values, level, tolerance, halves), near, out[rest])
        return out

    @cached_property
    def _tolerance(self) -> NDArray[np.float64]:
        """How far from each level a value may lie that equals it, (T,)."""
        ranks = self.table.real.astype(np.int64)
        return tolerance_of(self.table.imag, self.exact[ranks])

    @cached_property
    def _halves(self) -> NDArray[np.float64]:
        return halves_of(self.table.imag)


@dataclass(frozen=True)
class Keys:
    """The levels as features, those of each column far from the others', to look numbers up.

    Attributes:
        at: (K,) the places of the columns among the values.
        offsets: (1, K) what is added to the feature of each.
        table: (T,) the sorted sums for all levels.
    """

    at: NDArray[np.int64]
    offsets: NDArray[np.float64]
    table: NDArray[np.float64]

    @classmethod
    def of(cls, values: Sequence[Feature], levels: LevelsOf, reach: float) -> Keys:
        """Return the keys of columns whose features lie within `reach` of 0 where they are not
        beyond their limits. `values`: those in log1p come first.
        """
        at = ints(i for i, f in enumerate(values) if f.column in levels)
        own = [levels[values[i].column] for i in at]
        numbers = np.full((len(own), max(map(len, own), default=0)), np.nan)
        for row, each in zip(numbers, own, strict=True):
            row[: len(each)] = each
        offsets = np.arange(float(len(own))) * (2 * reach + 1)
        table = as_features([values[i] for i in at], numbers) + offsets[:, None]
        return cls(at, offsets[None], table[~np.isnan(numbers)])

    def missed(self, raw: NDArray[np.float64]) -> int:
        """Return how many of (N, values) features are those of no level, by their very digits."""
        keys = raw.take(self.at, axis=1)
        keys += self.offsets
        near = self.table.take(self.table.searchsorted(keys), mode="clip")
        return int(np.count_nonzero(near != keys))


@dataclass(frozen=True)
class Levels:
    """Lookup tables for the numeric columns that know their values.

    Attributes:
        columns: (K,) numeric columns with levels; `ladder` has these, and so have `keys`.
        whole: (W,) numeric columns without levels in which a fraction is unseen.
    """

    columns: NDArray[np.int64]
    ladder: Ladder
    keys: Keys
    whole: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        schema: Schema,
        values: Sequence[Feature],
        levels: LevelsOf,
        whole: Collection[str],
        reach: float,
    ) -> Levels | None:
        """Return the tables; None if no column needs them. See `Keys.of`."""
        at = {column.name: i for i, column in enumerate(schema.numeric)}
        if not levels and not whole:
            return None
        return cls(
            columns=ints(at[name] for name in levels),
            ladder=Ladder.of(list(levels.values())),
            keys=Keys.of(values, levels, reach),
            whole=ints(at[name] for name in whole if name not in levels),
        )

    def strange(self, numbers: NDArray[np.float64], raw: NDArray[np.float64]) -> int:
        """Return how many numbers within their limits need a second look, and some that are beyond
        them or missing. Numbers and (N, values) features may be of more columns.
        """
        found = self.keys.missed(raw) if len(self.columns) else 0
        if len(self.whole):
            own = numbers.take(self.whole, axis=1)
            found += int(np.count_nonzero(np.rint(own) != own))
        return found

    def new(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of (N, numeric columns) numbers are unseen.

        What a fraction has beside a whole number may be rounding: as much as single precision
        takes from numbers of that size.
        """
        out = np.zeros(numbers.shape, bool)
        own = numbers.take(self.whole, axis=1)
        out[:, self.whole] = np.abs(own - np.rint(own)) > np.abs(own) * FLOAT32_ROUNDING
        rows, ranks = np.nonzero(~np.isnan(numbers.take(self.columns, axis=1)))
        columns = self.columns[ranks]
        out[rows, columns] = self.ladder.find(ranks, numbers[rows, columns]) < 0
        return out


def check_levels(features: Sequence[Feature], levels: LevelsOf, whole: Sequence[str]) -> None:
    """Check that levels are those of columns with a number among the features, and in order.

    Raises:
        ArtifactError: training cannot have written them.
    """
    numbers = {f.column for f in features if f.code is None}
    for name in {*levels, *whole}:
        own = floats(levels.get(name, ()))
        ordered = bool(np.isfinite(own).all() and (np.diff(own) > 0).all())
        if name not in numbers or not ordered or (name in levels and not len(own)):
            raise ArtifactError(
                f"the levels of column '{one_line(name)}' are not those that training writes."
            )
