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
from scoring.standardise import MISSING_FLAG, Events, Feature, Features, Numbers

TILE = 1024  # records at a time: what is made on the way stays in the cache
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
        out = Features(
            np.empty((len(table), len(self.features)), dtype=np.float32),
            np.zeros((len(table), len(self.schema.columns)), dtype=bool),
        )
        for start in range(0, len(table), TILE):
            tile = slice(start, start + TILE)
            self._numbers.write(table.numbers[tile], out[tile])
            self._events.write(table.codes[tile], out[tile])
        return out

    @cached_property
    def _numbers(self) -> Numbers:
        return Numbers.of(self.schema, self.features, self.constants)

    @cached_property
    def _events(self) -> Events:
        return Events.of(self.schema, self.features, self.constants)

    @cached_property
    def _own(self) -> dict[str, _Own]:
        return {name: _Own.of(self.features, name) for name in self.schema.names}

    def expected(self, reconstruction: NDArray[Any], column: Column) -> float | str | bool | None:
        """The value that the network expected in a column, in the column's own units; (D,) -> one
        value.
        """
        own = self._own[column.name]
        raw = reconstruction[own.places] * own.deviation + own.mean
        if column.kind is not Kind.NUMERIC:
            return self._likely_event(column, own.codes, raw)
        given = dict(zip(own.codes, raw.tolist(), strict=True))
        if column.name in self.constants:
            number = self.constants[column.name]
        elif given.get(MISSING_FLAG, 0.0) > 0.5 or None not in given:
            return None
        else:
            number = signed_expm1(given[None]) if own.log1p else given[None]
        whole = column.integer and abs(number) < LARGEST_INTEGER
        return int(round(number)) if whole else float(f"{number:.6g}")

    def _likely_event(
        self, column: Column, codes: tuple[int | None, ...], raw: NDArray[np.float64]
    ) -> str | bool | None:
        constant = self.constants.get(column.name)
        best = codes[int(raw.argmax())] if constant is None else int(constant)
        if column.kind is Kind.BOOLEAN:
            return None if best == missing_code(column) else bool(best)
        return code_name(column, int(best or 0))

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
    """One column's features: their places, codes and scale."""

    places: NDArray[np.int64]
    codes: tuple[int | None, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    log1p: bool

    @classmethod
    def of(cls, features: Sequence[Feature], column: str) -> _Own:
        own = [(i, f) for i, f in enumerate(features) if f.column == column]
        return cls(
            np.array([i for i, _ in own], dtype=np.int64),
            tuple(f.code for _, f in own),
            np.array([f.mean for _, f in own]),
            np.array([f.deviation for _, f in own]),
            any(f.log1p for _, f in own),
        )
