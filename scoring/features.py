"""Table -> features: the numbers that the network sees.

A numeric column gives its standardised value, after log1p where it counts something, and a flag
where the fit data had missing values. A discrete column gives one standardised indicator for each
event that the fit data had: a category, the bucket for rare ones, a missing value.

Whatever the fit data never had in a column (a first category, a first missing value, a change in a
constant) has no feature: the network sees the column's mean instead, and a flag of its own says
that the event happened. Its likelihood is known without a network, see `novelty_nats`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import ArtifactError
from scoring.records import Table
from scoring.schema import Column, Kind, Schema, code_name, missing_code

FIRST_TIME, NO_FEATURE = -1, -2
TILE = 1024  # records at a time: what is made on the way stays in the cache
FEATURE_LIMIT = 1e6  # standard deviations; keeps float32 finite, far beyond what changes a verdict


def novelty_nats(n: int) -> float:
    """What an event costs that none of the n fit records had.

    Laplace's rule of succession gives it the probability 1 / (n + 2), and so about that variance
    as an indicator. Its Gaussian cost, 1 / (2 variance), is that of a category seen once: in
    calibration, the records that alone have a category stand for those that will bring a new one.
    """
    return (n + 2) / 2


def signed_log1p(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log1p for counts, odd, so that a negative count stays as far away as it is."""
    return np.sign(x) * np.log1p(np.abs(x))


LARGEST_LOG = 700.0  # of what a float can hold
LARGEST_INTEGER = 2**53  # from here on a float64 skips integers


def signed_expm1(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `signed_log1p`; finite, however far off a network's guess is."""
    return np.sign(x) * np.expm1(np.minimum(np.abs(x), LARGEST_LOG))


@dataclass(frozen=True)
class Feature:
    """One number of the network's input: (raw - mean) / deviation.

    `code` is None for a numeric column's value, -1 for its missing flag, else the discrete code
    indicated.
    """

    column: str
    code: int | None
    mean: float
    deviation: float
    log1p: bool = False


@dataclass(frozen=True)
class Vectorizer:
    """Made by `training.fit_features`; the same in training, batch and service."""

    schema: Schema
    features: tuple[Feature, ...]
    constants: Mapping[str, float]  # columns with a single value, or code, in the fit data

    @cached_property
    def column_of(self) -> NDArray[np.int64]:
        """(D,): the index of each feature's column in the schema."""
        at = {name: i for i, name in enumerate(self.schema.names)}
        return np.array([at[feature.column] for feature in self.features], dtype=np.int64)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(N, D + C) float32: D standardised features, then C flags of first-time events, one a
        column.
        """
        plan, n = self._plan, len(table)
        out = np.zeros((n, len(self.features) + len(self.schema.columns)), dtype=np.float32)
        for start in range(0, n, TILE):
            tile = slice(start, start + TILE)
            if plan.numeric_width:
                self._numeric(table.numbers[tile], out[tile])
            if plan.lookup.size:
                self._discrete(table.codes[tile], out[tile])
        return out

    def _numeric(self, numbers: NDArray[np.float64], out: NDArray[np.float32]) -> None:
        plan, d = self._plan, len(self.features)
        missing = np.isnan(numbers)
        raw = numbers[:, plan.value_of]
        if len(plan.log1p_at):
            raw[:, plan.log1p_at] = signed_log1p(raw[:, plan.log1p_at])
        raw -= plan.value_mean
        raw *= plan.value_scale
        np.maximum(raw, -FEATURE_LIMIT, out=raw)
        np.minimum(raw, FEATURE_LIMIT, out=raw)
        if missing.any():
            raw[missing[:, plan.value_of]] = 0.0
            out[:, d + plan.numeric_at] = missing & plan.never_missing
        out[:, plan.value_at] = raw
        if len(plan.flag_at):
            out[:, plan.flag_at] = (missing[:, plan.flag_of] - plan.flag_mean) * plan.flag_scale
        if len(plan.constant_of):
            given = numbers[:, plan.constant_of]
            changed = (given != plan.constant_value) & ~np.isnan(given)
            out[:, d + plan.numeric_at[plan.constant_of]] += changed

    def _discrete(self, codes: NDArray[np.int32], out: NDArray[np.float32]) -> None:
        plan, d = self._plan, len(self.features)
        where = plan.lookup[np.arange(codes.shape[1]), codes]
        out[:, plan.indicator_at] = plan.indicator_off
        rows, columns = np.nonzero(where >= 0)
        at = where[rows, columns]
        out[rows, at] = plan.indicator_on[at]
        for row, column in zip(*np.nonzero(where == FIRST_TIME), strict=True):
            out[row, plan.blocks[column]] = 0.0
            out[row, d + plan.discrete_at[column]] = 1.0

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """column -> its features' indices."""
        places: dict[str, list[int]] = {}
        for i, feature in enumerate(self.features):
            places.setdefault(feature.column, []).append(i)
        return places

    @cached_property
    def _plan(self) -> _Plan:
        return _Plan.of(self)

    def expected(self, reconstruction: NDArray[Any], column: Column) -> float | str | bool | None:
        """The value that the network expected in a column, in the column's own units; (D,) -> one
        value.
        """
        at = self._places.get(column.name, [])
        raw = {self.features[i].code: self._raw(i, float(reconstruction[i])) for i in at}
        if column.kind is not Kind.NUMERIC:
            return self._likely_event(column, raw)
        if column.name in self.constants:
            number = self.constants[column.name]
        elif raw.get(-1, 0.0) > 0.5 or None not in raw:
            return None
        else:
            number = raw[None]
        whole = column.integer and abs(number) < LARGEST_INTEGER
        return int(round(number)) if whole else float(f"{number:.6g}")

    def _likely_event(self, column: Column, raw: Mapping[int | None, float]) -> str | bool | None:
        constant = self.constants.get(column.name)
        best = max(raw, key=lambda code: raw[code]) if constant is None else int(constant)
        if column.kind is Kind.BOOLEAN:
            return None if best == missing_code(column) else bool(best)
        return code_name(column, int(best or 0))

    def _raw(self, index: int, scaled: float) -> float:
        feature = self.features[index]
        raw = scaled * feature.deviation + feature.mean
        return float(signed_expm1(np.array([raw]))[0]) if feature.log1p else raw

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
class _Plan:
    """Index arrays worked out once, so that a transform is a handful of array operations."""

    numeric_width: int
    numeric_at: NDArray[np.int64]  # schema index of each numeric column
    value_at: NDArray[np.int64]  # feature index of each value feature
    value_of: NDArray[np.int64]  # its numeric column
    value_mean: NDArray[np.float64]
    value_scale: NDArray[np.float64]
    log1p_at: NDArray[np.int64]  # those of the values that are taken in log1p
    flag_at: NDArray[np.int64]
    flag_of: NDArray[np.int64]
    flag_mean: NDArray[np.float64]
    flag_scale: NDArray[np.float64]
    never_missing: NDArray[np.bool_]
    constant_of: NDArray[np.int64]
    constant_value: NDArray[np.float64]
    discrete_at: NDArray[np.int64]  # schema index of each discrete column
    lookup: NDArray[np.int64]  # (discrete, codes): feature index, or FIRST_TIME or NO_FEATURE
    blocks: tuple[NDArray[np.int64], ...]
    indicator_at: NDArray[np.int64]
    indicator_off: NDArray[np.float32]
    indicator_on: NDArray[np.float32]  # (D,): what an indicator is when its event happens

    @classmethod
    def of(cls, vectorizer: Vectorizer) -> _Plan:
        schema, features = vectorizer.schema, vectorizer.features
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        discrete = {column.name: i for i, column in enumerate(schema.discrete)}
        place = {name: i for i, name in enumerate(schema.names)}
        value = [i for i, f in enumerate(features) if f.code is None]
        flag = [i for i, f in enumerate(features) if f.code == -1]
        event = [i for i, f in enumerate(features) if f.code is not None and f.code >= 0]
        mean = np.array([f.mean for f in features], dtype=np.float64)
        scale = 1.0 / np.array([f.deviation for f in features], dtype=np.float64)
        never_missing = np.ones(len(numeric), dtype=bool)
        never_missing[[numeric[features[i].column] for i in flag]] = False
        width = max((missing_code(c) + 1 for c in schema.discrete), default=0)
        lookup = np.full((len(discrete), width), FIRST_TIME, dtype=np.int64)
        for name in discrete.keys() & vectorizer.constants.keys():
            lookup[discrete[name], int(vectorizer.constants[name])] = NO_FEATURE
        for i in event:
            lookup[discrete[features[i].column], features[i].code] = i
        constants = {numeric[n]: v for n, v in vectorizer.constants.items() if n in numeric}
        return cls(
            numeric_width=len(numeric),
            numeric_at=_ints(place[name] for name in numeric),
            value_at=_ints(value),
            value_of=_ints(numeric[features[i].column] for i in value),
            value_mean=mean[value],
            value_scale=scale[value],
            log1p_at=_ints(j for j, i in enumerate(value) if features[i].log1p),
            flag_at=_ints(flag),
            flag_of=_ints(numeric[features[i].column] for i in flag),
            flag_mean=mean[flag],
            flag_scale=scale[flag],
            never_missing=never_missing,
            constant_of=_ints(constants),
            constant_value=np.array(list(constants.values()), dtype=np.float64),
            discrete_at=_ints(place[name] for name in discrete),
            lookup=lookup,
            blocks=tuple(row[row >= 0] for row in lookup),
            indicator_at=_ints(event),
            indicator_off=(-mean * scale)[event].astype(np.float32),
            indicator_on=((1.0 - mean) * scale).astype(np.float32),
        )


def _ints(values: Any) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)
