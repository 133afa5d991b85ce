"""errors in the other features -> the number that is expected in a blank column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE, indices_of
from vaewatch.scoring.features.feature import rounded, signed_expm1, signed_log1p
from vaewatch.scoring.features.levels import Ladder
from vaewatch.scoring.features.vectorizer import ColumnFeatures, Vectorizer
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.scoring.schema import Column

DIGITS = 6  # significant ones of an expected number


@dataclass(frozen=True)
class ExpectedNumbers:
    """Lookup tables for the numeric ones of C columns; the other entries are never used.

    Attributes:
        given: (C,) whether the column has a value among the features.
        value: (C,) that feature.
        mean, deviation, log1p: (C,) of it.
        low, high: (C,) the range in the fit data.
        least, most: (C,) beyond which a number is unseen, or of another sign than all were.
        whole: (C,) whether the column holds whole numbers only.
        rank: (C,) of the column in the ladder of levels; NONE where it has none.
        variance: (C,) of the feature's error, given the errors in all others.
        pull: (C,) what a missing flag that is off, no longer blank, adds to the weighed error.
    """

    given: NDArray[np.bool_]
    value: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    log1p: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    whole: NDArray[np.bool_]
    rank: NDArray[np.int64]
    ladder: Ladder
    variance: NDArray[np.float64]
    pull: NDArray[np.float64]

    @classmethod
    def of(
        cls, columns: list[ColumnFeatures], vectorizer: Vectorizer, precision: Precision
    ) -> ExpectedNumbers:
        value, flag = indices_of(o.value for o in columns), indices_of(o.flag for o in columns)
        mean, deviation = vectorizer.scale
        ranks = {name: rank for rank, name in enumerate(vectorizer.levels)}
        low = np.array([_or(own.column.low, -np.inf) for own in columns])
        high = np.array([_or(own.column.high, np.inf) for own in columns])
        limits = [vectorizer.limits.get(o.column.name, (-np.inf, np.inf)) for o in columns]
        least, most = np.array(limits).reshape(-1, 2).T
        off = np.where(flag == NONE, 0.0, -mean[flag] / deviation[flag])
        return cls(
            given=value != NONE,
            value=value,
            mean=mean[value],
            deviation=deviation[value],
            log1p=np.array([own.log1p for own in columns]),
            low=low,
            high=high,
            least=np.where(low >= 0, np.maximum(least, 0.0), least),
            most=np.where(high <= 0, np.minimum(most, 0.0), most),
            whole=np.array([_is_whole(own.column, vectorizer) for own in columns]),
            rank=indices_of(ranks.get(own.column.name) for own in columns),
            ladder=Ladder.of(list(vectorizer.levels.values())),
            variance=1 / precision.entries(value, value),
            pull=off * precision.entries(value, flag),
        )

    def expect(self, columns: NDArray[np.int64], weighed: Floats) -> NDArray[np.float64]:
        """Return expected numbers in the columns' own units, (M,).

        Args:
            weighed: (M, D) r Sigma^-1, with each cell's column blank.
        """
        error = weighed[np.arange(len(columns)), self.value[columns]] + self.pull[columns]
        numbers = self.mean[columns] - error * self.variance[columns] * self.deviation[columns]
        numbers = np.where(self.log1p[columns], signed_expm1(numbers), numbers)
        numbers = np.where(self.whole[columns], numbers, rounded(numbers, DIGITS))
        return self.possible(columns, np.clip(numbers, self.low[columns], self.high[columns]))

    def possible(
        self, columns: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the numbers next to these, (M,), that their columns may hold."""
        numbers = np.where(self.whole[columns], np.rint(numbers), numbers)
        levelled = np.flatnonzero((self.rank[columns] != NONE) & ~np.isnan(numbers))
        if len(levelled):
            ranks = self.rank[columns[levelled]]
            numbers[levelled] = self.ladder.nearest(ranks, numbers[levelled])
        return numbers

    def may_be(
        self, columns: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return which numbers, (M,), may be expected: where nothing was below 0, a rule that asks
        for a negative number is mended elsewhere.
        """
        return np.asarray((self.least[columns] <= numbers) & (numbers <= self.most[columns]))

    def write(
        self,
        features: NDArray[np.float32],
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        numbers: NDArray[np.float64],
    ) -> None:
        """Write numbers into these rows of (M, D) features, as `Vectorizer.transform` does."""
        raw = np.where(self.log1p[columns], signed_log1p(numbers), numbers)
        features[rows, self.value[columns]] = (raw - self.mean[columns]) / self.deviation[columns]


def _is_whole(column: Column, vectorizer: Vectorizer) -> bool:
    return column.integer or column.name in vectorizer.whole


def _or(limit: float | None, otherwise: float) -> float:
    return otherwise if limit is None else limit
