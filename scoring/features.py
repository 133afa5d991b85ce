"""Table -> features: the numbers that the network sees.

A numeric column gives its standardised value, after log1p where it counts something, and a flag
where the fit data had missing values. A discrete column gives one standardised indicator for each
event that the fit data had: a category, the bucket for rare ones, a missing value.

Whatever the fit data never had in a column (a first category, a first missing value, a change in a
constant) has no feature: the network sees the column's mean instead, and a flag of its own says
that the event happened. Its likelihood is known without a network, see `novelty_nats`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import ArtifactError
from scoring.records import Table
from scoring.schema import Column, Kind, Schema, code_name, missing_code
from scoring.standardise import (
    MISSING_FLAG,
    TILE,
    Events,
    Feature,
    Features,
    Numbers,
    places_of_columns,
)

LARGEST_LOG = 700.0  # of what a float can hold
LARGEST_INTEGER = 2**53  # from here on a float64 skips integers


def novelty_nats(n: int) -> float:
    """What an event costs that none of the n fit records had.

    Laplace's rule of succession gives it the probability 1 / (n + 2), and so about that variance
    as an indicator. Its Gaussian cost, 1 / (2 variance), is that of a category seen once: in
    calibration, the records that alone have a category stand for those that will bring a new one.
    """
    return (n + 2) / 2


def signed_expm1(x: float) -> float:
    """The inverse of `signed_log1p`; finite, however far off a network's guess is."""
    return math.copysign(math.expm1(min(abs(x), LARGEST_LOG)), x)


@dataclass(frozen=True)
class Vectorizer:
    """Made by `training.fit_features`; the same in training, batch and service.

    features: in the order of `feature_order`, and within it in that of the columns.
    """

    schema: Schema
    features: tuple[Feature, ...]
    constants: Mapping[str, float]  # columns with a single value, or code, in the fit data

    @cached_property
    def column_of(self) -> NDArray[np.int64]:
        """(D,): the index of each feature's column in the schema."""
        at = {name: i for i, name in enumerate(self.schema.names)}
        return np.array([at[feature.column] for feature in self.features], dtype=np.int64)

    @cached_property
    def column_map(self) -> NDArray[np.float32]:
        """(D, C): 1 where a feature belongs to a column."""
        return np.eye(len(self.schema.names), dtype=np.float32)[self.column_of]

    def transform(self, table: Table) -> Features:
        """(N, D) features of a table's N records."""
        n = len(table)
        values = np.empty((n, len(self.features)), dtype=np.float32)
        first_time = np.zeros((n, len(self.schema.columns)), dtype=bool)
        may_surprise = False
        for start in range(0, n, TILE):
            tile = slice(start, start + TILE)
            out = values[tile], first_time[tile]
            may_surprise |= self._numbers.write(table.numbers[tile], *out)
            may_surprise |= self._events.write(table.codes[tile], *out)
        return Features(values, first_time, may_surprise)

    @cached_property
    def _numbers(self) -> Numbers:
        return Numbers.of(self.schema, self.features, self.constants)

    @cached_property
    def _events(self) -> Events:
        return Events.of(self.schema, self.features, self.constants)

    @cached_property
    def _own(self) -> dict[str, _Own]:
        places = places_of_columns(self.features)
        return {
            name: _Own.of([(i, self.features[i]) for i in places.get(name, [])])
            for name in self.schema.names
        }

    def expected(self, reconstruction: NDArray[Any], column: Column) -> float | str | bool | None:
        """The value that the network expected in a column, in the column's own units; (D,) -> one
        value.
        """
        own, constant = self._own[column.name], self.constants.get(column.name)
        if column.kind is not Kind.NUMERIC:
            return own.likely_event(reconstruction, column, constant)
        number = own.likely_number(reconstruction) if constant is None else constant
        if number is None:
            return None
        whole = column.integer and abs(number) < LARGEST_INTEGER
        return round(number) if whole else float(f"{number:.6g}")

    def to_json(self) -> dict[str, Any]:
        """Features as rows of [column, code, mean, deviation, log1p]."""
        rows = [[f.column, f.code, f.mean, f.deviation, f.log1p] for f in self.features]
        return {"features": rows, "constants": dict(self.constants)}

    @classmethod
    def from_json(cls, schema: Schema, data: Mapping[str, Any]) -> Vectorizer:
        try:
            features = tuple(Feature(*row) for row in data["features"])
            return cls(schema, features, dict(data["constants"]))
        except (KeyError, TypeError) as error:
            raise ArtifactError(
                f"features must be as this release writes them, got {error}."
            ) from error


@dataclass(frozen=True)
class _Own:
    """One column's features and their places.

    A numeric column has a value, a missing flag or both; a discrete one `events` side by side,
    from `start`, with these means and deviations.
    """

    value: tuple[int, Feature] | None
    flag: tuple[int, Feature] | None
    events: tuple[int, ...]
    start: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, own: Sequence[tuple[int, Feature]]) -> _Own:
        events = [(i, f) for i, f in own if f.code not in (None, MISSING_FLAG)]
        return cls(
            value=next(((i, f) for i, f in own if f.code is None), None),
            flag=next(((i, f) for i, f in own if f.code == MISSING_FLAG), None),
            events=tuple(int(f.code or 0) for _, f in events),
            start=events[0][0] if events else 0,
            mean=np.array([f.mean for _, f in events]),
            deviation=np.array([f.deviation for _, f in events]),
        )

    def likely_number(self, reconstruction: NDArray[Any]) -> float | None:
        """None where the value is more likely missing than not."""
        if self.value is None or (self.flag and _raw(reconstruction, *self.flag) > 0.5):
            return None
        raw = _raw(reconstruction, *self.value)
        return signed_expm1(raw) if self.value[1].log1p else raw

    def likely_event(
        self, reconstruction: NDArray[Any], column: Column, constant: float | None
    ) -> str | bool | None:
        if constant is not None:
            best = int(constant)
        else:
            scaled = reconstruction[self.start : self.start + len(self.events)]
            best = self.events[int((scaled * self.deviation + self.mean).argmax())]
        if column.kind is Kind.BOOLEAN:
            return None if best == missing_code(column) else bool(best)
        return code_name(column, best)


def _raw(reconstruction: NDArray[Any], place: int, feature: Feature) -> float:
    return float(reconstruction[place]) * feature.deviation + feature.mean
