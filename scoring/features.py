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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.schema import Column, Kind, Schema, code_name, missing_code
from vaewatch.scoring.standardise import (
    MISSING_FLAG,
    TILE,
    Events,
    Feature,
    Features,
    Numbers,
    places_of_columns,
)
from vaewatch.scoring.table import Table

Value = float | str | bool | None  # of a cell, as people read it
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
    """Made by `vaewatch.training.records.features`; the same in training, batch and service.

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
        if n <= TILE:
            surprise = self._write(table.numbers, table.codes, values, first_time)
            return Features(values, first_time, surprise)
        surprises = [
            self._write(table.numbers[tile], table.codes[tile], values[tile], first_time[tile])
            for tile in (slice(start, start + TILE) for start in range(0, n, TILE))
        ]
        return Features(values, first_time, any(surprises))

    def _write(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        values: NDArray[np.float32],
        first_time: NDArray[np.bool_],
    ) -> bool:
        """At most a TILE. False: no surprise."""
        surprise = self._numbers.write(numbers, values, first_time)
        return self._events.write(codes, values, first_time) or surprise

    @cached_property
    def _numbers(self) -> Numbers:
        return Numbers.of(self.schema, self.features, self.constants)

    @cached_property
    def _events(self) -> Events:
        return Events.of(self.schema, self.features, self.constants)

    @cached_property
    def _scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(D,) means and deviations."""
        mean = np.array([feature.mean for feature in self.features])
        return mean, np.array([feature.deviation for feature in self.features])

    def raw(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """(..., D) features, no longer standardised."""
        mean, deviation = self._scale
        return np.asarray(features * deviation + mean)

    @cached_property
    def _own(self) -> dict[str, _Own]:
        places = places_of_columns(self.features)
        return {
            column.name: _Own.of(
                column,
                {i: self.features[i] for i in places.get(column.name, [])},
                self.constants.get(column.name),
            )
            for column in self.schema.columns
        }

    def expected(self, raw: NDArray[np.float64], column: Column) -> Value:
        """The value that the network expected in a column, in the column's own units, from one
        record's reconstruction, (D,), no longer standardised.
        """
        return self._own[column.name].expected(raw)

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
    """One column's features: the places of a numeric column's value and missing flag, either or
    both, or those of a discrete one's events, side by side.

    labels: what the events are called. otherwise: what a column without any is expected to hold.
    """

    column: Column
    value: int | None
    log1p: bool
    flag: int | None
    events: slice
    labels: tuple[Value, ...]
    otherwise: Value

    @classmethod
    def of(cls, column: Column, own: Mapping[int, Feature], constant: float | None) -> _Own:
        if constant is not None:
            own = {}  # one that the network has only so as not to be empty
        discrete = column.kind is not Kind.NUMERIC
        value = next((i for i, f in own.items() if f.code is None), None)
        events = [i for i, f in own.items() if discrete]
        return cls(
            column=column,
            value=value,
            log1p=value is not None and own[value].log1p,
            flag=next((i for i, f in own.items() if f.code == MISSING_FLAG), None),
            events=slice(events[0], events[-1] + 1) if events else slice(0, 0),
            labels=tuple(_label(column, int(own[i].code or 0)) for i in events),
            otherwise=None
            if constant is None
            else _label(column, int(constant))
            if discrete
            else _number(column, constant),
        )

    def expected(self, raw: NDArray[np.float64]) -> Value:
        if self.labels:
            return self.labels[int(raw[self.events].argmax())]
        if self.value is None or (self.flag is not None and raw[self.flag] > 0.5):
            return self.otherwise  # of the latter it is None: more likely missing than not
        number = float(raw[self.value])
        return _number(self.column, signed_expm1(number) if self.log1p else number)


def _label(column: Column, code: int) -> str | bool | None:
    if column.kind is Kind.BOOLEAN:
        return None if code == missing_code(column) else bool(code)
    return code_name(column, code)


def _number(column: Column, number: float) -> float:
    whole = column.integer and abs(number) < LARGEST_INTEGER
    return round(number) if whole else float(f"{number:.6g}")
