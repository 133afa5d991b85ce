"""circular numbers -> their two features each: the cosine and the sine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import Feature
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.time.calendar import angle

COSINE, SINE = -2, -3  # in place of a code


@dataclass(frozen=True)
class Circles:
    """Lookup tables for the circular columns, each with two features: where its number lies on a
    circle, so that 23:59 and 00:00 are neighbours.

    Attributes:
        columns, periods: (K,) the numeric column and the period of each.
        cosines, sines: (K,) their features. mean, deviation: (2, K) of these.
    """

    columns: NDArray[np.int64]
    periods: NDArray[np.float64]
    cosines: NDArray[np.int64]
    sines: NDArray[np.int64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, schema: Schema, features: Sequence[Feature]) -> Circles:
        at = {(f.column, f.code): i for i, f in enumerate(features)}
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        own = [c for c in schema.circular if (c.name, COSINE) in at]
        pairs = [[at[c.name, code] for c in own] for code in (COSINE, SINE)]
        return cls(
            columns=np.array([numeric[c.name] for c in own], np.int64),
            periods=np.array([c.period or 1.0 for c in own]),
            cosines=np.array(pairs[0], np.int64),
            sines=np.array(pairs[1], np.int64),
            mean=np.array([[features[i].mean for i in row] for row in pairs]),
            deviation=np.array([[features[i].deviation for i in row] for row in pairs]),
        )

    def write(self, numbers: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        """Fill in the features of N records; 0, their mean, where a number is missing."""
        angles = angle(numbers.take(self.columns, axis=1), self.periods)
        for row, (places, raw) in enumerate(
            ((self.cosines, np.cos(angles)), (self.sines, np.sin(angles)))
        ):
            values[:, places] = np.nan_to_num((raw - self.mean[row]) / self.deviation[row])
