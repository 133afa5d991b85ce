"""a record with one column blank -> the value that the rest of the record leads one to expect.

The features of a blank column are all 0, their mean, so that a faulty value cannot vouch for
itself: the network reconstructs the column from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE, Cells
from vaewatch.scoring.expected.conditional import Conditional
from vaewatch.scoring.expected.directions import ExpectedDirections
from vaewatch.scoring.expected.events import ExpectedEvents
from vaewatch.scoring.expected.numbers import ExpectedNumbers
from vaewatch.scoring.features.vectorizer import ColumnFeatures, Value, Vectorizer
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.scoring.schema import OTHER, code_name
from vaewatch.scoring.time.parts import shown


@dataclass(frozen=True)
class Expected:
    """What is expected in M cells.

    Attributes:
        features: (M, D) of the record with the expected value in the cell.
        events: (M,) the feature that is on, an indicator or a missing flag; else NONE.
        numbers: (M,) in the column's own units, where there is no such feature.
        codes: (M,) which of the categories that share the feature, where one is told; else NONE.
    """

    features: NDArray[np.float32]
    events: NDArray[np.int64]
    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Expectation:
    """Blanks columns, and replaces them by what is expected there."""

    vectorizer: Vectorizer
    precision: Precision
    conditional: Conditional

    def blank(self, cells: Cells) -> NDArray[np.float32]:
        """Return the features with each cell's column blank, (M, D)."""
        keep = self.vectorizer.column_of != cells.columns[:, None]
        return np.asarray(cells.features * keep)

    def expect(
        self, cells: Cells, whitened: Floats, excluded: NDArray[np.bool_] | None = None
    ) -> Expected:
        """Return what is expected in each cell.

        It is what goes with the errors in the other features: a number within the range of the
        fit data, or the observed event unless another is clearly more probable.

        Args:
            whitened: (M, S, D) residuals of the features with each cell's column blank.
            excluded: (M, D) see `ExpectedEvents.expect`.
        """
        weighed = self.precision.weigh(whitened.mean(1))
        numbers = self.numbers.expect(cells.columns, weighed)
        events = self._events.expect(cells, -self.conditional.beyond(weighed), excluded)
        features = self._events.filled(cells, events)
        rows = np.flatnonzero((events == NONE) & self.numbers.given[cells.columns])
        self.numbers.write(features, rows, cells.columns[rows], numbers[rows])
        if self._circles is not None:
            self._circles.fill(features, numbers, cells.columns, weighed, events)
        return Expected(features, events, numbers, np.full(len(events), NONE))

    def value(self, column: int, event: int, number: float, code: int = NONE) -> Value:
        """Return an expected value as JSON can carry it."""
        own = self._columns[column]
        if event != NONE and code != NONE and self._events.labels[event] == OTHER:
            return code_name(own.column, code)
        if event != NONE:
            return self._events.labels[event]
        if own.circle is not None and own.column.part is not None:
            return shown(number, own.column.part)
        if own.value is None:
            return own.otherwise
        return int(number) if own.column.integer else number

    @cached_property
    def _columns(self) -> list[ColumnFeatures]:
        return list(self.vectorizer.by_column.values())

    @cached_property
    def numbers(self) -> ExpectedNumbers:
        return ExpectedNumbers.of(self._columns, self.vectorizer, self.precision)

    @cached_property
    def _circles(self) -> ExpectedDirections | None:
        if not self.vectorizer.schema.circular:
            return None
        return ExpectedDirections.of(self._columns, self.vectorizer, self.precision)

    @cached_property
    def _events(self) -> ExpectedEvents:
        return ExpectedEvents.of(self._columns, self.vectorizer)
