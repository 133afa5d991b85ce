"""expected features -> the event that is expected in a column.

An event is a category, a boolean or a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE, Cells, indices_of
from vaewatch.scoring.features.vectorizer import ColumnFeatures, Value, Vectorizer
from vaewatch.scoring.precision import Floats
from vaewatch.scoring.schema import Kind, other_code

# Another event than the observed one is expected only if it is
PROBABLE, LIKELIER = 0.5, 2  # more probable than this, and so many times as probable, or
FAR_LIKELIER = 10  # so many times as probable: where many events are alike, none is expected
RARE = 100.0  # above any probability, so that the bucket of rare categories is expected last


@dataclass(frozen=True)
class ExpectedEvents:
    """Lookup tables for the events of C columns.

    Attributes:
        column_of: (D,) the column of each feature.
        flag: (C,) a numeric column's missing flag, or NONE; number: (C,) its number.
        indicators: (C, K) a discrete column's indicators, then NONE.
        labels: (D,) a cell's value where the feature is on.
        discrete: (C,) whether the column has indicators.
        mean, deviation: (D,) of the event.
        rare: (D,) RARE for the bucket of rare categories, else 0.
        off, on: (D,) standardised. Off is also what a constant column always is, and the 0 of a
            value.
    """

    column_of: NDArray[np.int64]
    flag: NDArray[np.int64]
    number: NDArray[np.int64]
    indicators: NDArray[np.int64]
    labels: tuple[Value, ...]
    discrete: NDArray[np.bool_]
    rare: NDArray[np.float64]
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    off: NDArray[np.float32]
    on: NDArray[np.float32]

    @classmethod
    def of(cls, columns: list[ColumnFeatures], vectorizer: Vectorizer) -> ExpectedEvents:
        happens = np.array([feature.is_event for feature in vectorizer.features])
        mean, deviation = (np.where(happens, x, 1.0) for x in vectorizer.scale)
        places = [range(own.events.start, own.events.stop) for own in columns]
        indicators = np.full((len(columns), max(map(len, places))), NONE)
        labels: list[Value] = [None] * len(mean)
        rare = np.zeros(len(mean))
        for row, own, at in zip(indicators, columns, places, strict=True):
            row[: len(at)] = at
            labels[own.events] = own.labels
            others = [vectorizer.features[i].code == other_code(own.column) for i in at]
            rare[own.events] = RARE * np.array(others) * (own.column.kind is Kind.CATEGORICAL)
        off, on = -mean / deviation, (1 - mean) / deviation
        off[~happens] = 0.0
        always = [i for i in range(len(mean)) if _is_constant(columns[vectorizer.column_of[i]])]
        off[always] = on[always]
        return cls(
            column_of=vectorizer.column_of,
            flag=indices_of(own.flag for own in columns),
            number=indices_of(own.number for own in columns),
            indicators=indicators,
            labels=tuple(labels),
            discrete=np.array([bool(at) for at in places]),
            rare=rare,
            mean=mean.astype(np.float32),
            deviation=deviation.astype(np.float32),
            off=off.astype(np.float32),
            on=on.astype(np.float32),
        )

    def expect(
        self, cells: Cells, expected: Floats, excluded: NDArray[np.bool_] | None = None
    ) -> NDArray[np.int64]:
        """Return the features that are expected to be on, (M,); NONE where a number is expected.

        Args:
            expected: (M, D) features. No longer standardised, those of events are probabilities.
            excluded: (M, D) what cannot be: an event, or a number at all. None if anything can.
        """
        events = np.full(len(cells.columns), NONE)
        rows = np.flatnonzero(self.flag[cells.columns] != NONE)
        if len(rows):
            flags = self.flag[cells.columns[rows]]
            missing = self._chances(expected, rows, flags)
            observed = cells.features[rows, flags] > 0
            chances = np.where(observed, missing, 1 - missing)
            events[rows] = np.where(observed != _is_unexpected(chances, 1 - chances), flags, NONE)
            if excluded is not None:
                given = excluded[rows, self.number[cells.columns[rows]]]
                events[rows] = np.where(given, flags, events[rows])
                events[rows] = np.where(excluded[rows, flags], NONE, events[rows])
        rows = np.flatnonzero(self.discrete[cells.columns])
        if len(rows):
            own, at = self.indicators[cells.columns[rows]], np.arange(len(rows))
            happened = (cells.features[rows[:, None], own] > 0) & (own != NONE)
            chances = self._chances(expected, rows[:, None], own)
            out = own == NONE if excluded is None else (own == NONE) | excluded[rows[:, None], own]
            ranks = np.where(happened | out, -np.inf, chances - self.rare[own])
            best, observed = ranks.argmax(1), happened.argmax(1)
            unexpected = _is_unexpected(chances[at, observed], chances[at, best])
            replace = unexpected | ~happened.any(1) | (out[at, observed] & ~out[at, best])
            events[rows] = own[at, np.where(replace, best, observed)]
        return events

    def _chances(
        self, expected: Floats, rows: NDArray[np.int64], features: NDArray[np.int64]
    ) -> Floats:
        own = expected[rows, features]
        return np.asarray(own * self.deviation[features] + self.mean[features])

    def filled(self, cells: Cells, events: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features with these events in the cells' columns, and no numbers, (M, D)."""
        own = self.column_of == cells.columns[:, None]
        features = np.where(own, self.off, cells.features)
        rows = np.flatnonzero(events != NONE)
        features[rows, events[rows]] = self.on[events[rows]]
        return features


def _is_unexpected(observed: Floats, other: Floats) -> NDArray[np.bool_]:
    """Return whether another event is expected, given both probabilities, (M,) each."""
    observed = np.maximum(observed, 0.0)  # an expectation may leave the range of probabilities
    likelier = (other > PROBABLE) & (other >= LIKELIER * observed)
    return np.asarray(likelier | (other > FAR_LIKELIER * observed))


def _is_constant(own: ColumnFeatures) -> bool:
    """Return whether a discrete column has an indicator only because a network must have one."""
    return not own.column.is_number and not own.labels
