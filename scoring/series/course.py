"""a column of a window, as features -> its values by record, observed and expected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import signed_expm1
from vaewatch.scoring.features.vectorizer import Value, Vectorizer
from vaewatch.scoring.schema import OTHER
from vaewatch.scoring.series.window import Window

ROUNDING = 1e-6  # of a standardised feature: more than float32 leaves


@dataclass(frozen=True)
class Units:
    """Turns the features of windows back into values, in the columns' own units."""

    vectorizer: Vectorizer
    window: Window

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, and last the one of the time, which stands for the pace."""
        schema = self.vectorizer.schema
        return (*schema.names, schema.time.column if schema.time else "")

    def value(self, features: NDArray[np.float32], column: int) -> Value:
        """Return what a record's numbers, (D,), stand for in a column; as a whole number where
        the column has whole ones.
        """
        names = self.vectorizer.schema.names
        if column == len(names):
            pace = self.window.pace
            if pace is None:
                return None
            return float(f"{pace.seconds(float(features[-1]), self.window.step):.4g}")
        raw, slack = self._raw(features)
        raw[np.abs(raw) < slack] = 0.0  # what is left of a 0
        return self.vectorizer.by_column[names[column]].expected(raw)

    def observed(self, features: NDArray[np.float32], column: int) -> Value:
        """Return what a record held in a column, a fraction among whole numbers, too: 0.43 is no
        0 where others have 300.
        """
        value = self.value(features, column)
        if column == len(self.vectorizer.schema.names) or not isinstance(value, int):
            return value
        own = self.vectorizer.by_column[self.vectorizer.schema.names[column]]
        if own.value is None:
            return value
        raw, slack = (float(each[own.value]) for each in self._raw(features))
        number = float(signed_expm1(raw)) if own.log1p else raw
        slack *= 1.0 + abs(number) if own.log1p else 1.0
        digits = max(math.floor(-math.log10(slack)), 0)
        return value if abs(number - value) <= slack else round(number, digits)

    def _raw(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a record's features, (D,), no longer standardised, and how far off they are."""
        own = features[: len(self.vectorizer.features)].astype(np.float64)
        slack = ROUNDING * self.vectorizer.scale[1] * np.maximum(np.abs(own), 1.0)
        return self.vectorizer.raw(own), slack

    def unseen(self, features: NDArray[np.float32], column: int) -> Value:
        """Return what stands for an unseen value: a number that varies is far out, or missing;
        a missing one is the mean among the features.
        """
        own = self.vectorizer.by_column[self.vectorizer.schema.names[column]]
        if own.value is None:
            known = features[own.events].any()  # and not with what is in another column
            return self.value(features, column) if known else OTHER
        return self.observed(features, column) if features[own.value] else None


@dataclass(frozen=True, eq=False)
class Course:
    """A column in one window, and what was expected of it.

    Attributes:
        index: of the column; the last one is the pace.
        observed, expected: (W, D) features, the oldest record first.
        unseen: (W,) where the column's value is unseen.
        errors: (W,) the squared errors of the column's features.
    """

    units: Units
    index: int
    observed: NDArray[np.float32]
    expected: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    errors: NDArray[np.float64]

    @property
    def column(self) -> str:
        return self.units.names[self.index]

    @property
    def worst(self) -> int:
        """The record, from the oldest on, that holds the newest unseen value; without one, the
        record at which the column is most unlike what was expected.
        """
        unseen = np.flatnonzero(self.unseen)
        return int(unseen[-1]) if len(unseen) else int(self.errors.argmax())

    def at(self, record: int) -> tuple[Value, Value]:
        """Return what was observed at a record, and what was expected."""
        observed = self.units.observed(self.observed[record], self.index)
        if self.unseen[record]:
            observed = self.units.unseen(self.observed[record], self.index)
        return observed, self.units.value(self.expected[record], self.index)
