"""errors in the other features -> the number that is expected in a blank circular column.

Its cosine and sine are expected together, given the errors in all others. Their direction is the
circular mean: of 23:00 and 01:00 it is 00:00, not noon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE
from vaewatch.scoring.features.vectorizer import ColumnFeatures, Vectorizer
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.scoring.time.calendar import angle, on_circle


@dataclass(frozen=True)
class _Circle:
    """One circular column.

    Attributes:
        pair: (2,) its cosine and sine among the features.
        covariance: (2, 2) of their errors, given the errors in all other features.
        pull: (2,) what a missing flag that is off, no longer blank, adds to the weighed errors.
    """

    pair: NDArray[np.int64]
    covariance: NDArray[np.float64]
    pull: NDArray[np.float64]
    period: float


@dataclass(frozen=True)
class ExpectedDirections:
    """The circular ones of C columns, by their index; and (D,) means and deviations."""

    circles: dict[int, _Circle]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(
        cls, columns: list[ColumnFeatures], vectorizer: Vectorizer, precision: Precision
    ) -> ExpectedDirections:
        mean, deviation = vectorizer.scale
        circles = {}
        for index, own in enumerate(columns):
            if own.circle is None:
                continue
            pair = np.array(own.circle)
            pull = np.zeros(2)
            if own.flag is not None:
                off = -mean[own.flag] / deviation[own.flag]
                pull = off * precision.entries(pair, np.full(2, own.flag))
            covariance = np.asarray(np.linalg.inv(precision.among(pair)))
            circles[index] = _Circle(pair, covariance, pull, own.column.period or 1.0)
        return cls(circles, mean, deviation)

    def fill(
        self,
        features: NDArray[np.float32],
        numbers: NDArray[np.float64],
        columns: NDArray[np.int64],
        weighed: Floats,
        events: NDArray[np.int64],
    ) -> None:
        """Write what is expected in the circular ones of M cells into (M, D) features and (M,)
        numbers; see `vaewatch.scoring.expected.expectation`.
        """
        for index, circle in self.circles.items():
            rows = np.flatnonzero((columns == index) & (events == NONE))
            if not len(rows):
                continue
            mean, deviation = self.mean[circle.pair], self.deviation[circle.pair]
            errors = (weighed[rows][:, circle.pair] + circle.pull) @ circle.covariance
            cosine, sine = (mean - errors * deviation).T
            numbers[rows] = on_circle(cosine, sine, circle.period)
            angles = angle(numbers[rows], circle.period)
            raw = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            features[rows[:, None], circle.pair] = (raw - mean) / deviation
