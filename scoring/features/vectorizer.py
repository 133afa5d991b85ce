"""Table -> features: the numbers that the network sees.

A numeric column gives its standardised value, after log1p where it counts something, and a flag
where the fit data had missing values. A circular column gives its cosine and sine instead. A
discrete column gives one indicator for each event that the fit data had: a frequent category, all
other ones together, a missing value.

What the fit data never had in a column (a new category, a first missing value, a constant that
changes) is unseen and has no feature: the network gets the column's mean instead, and a flag marks
the column. Its likelihood is known without a network, see `unseen_nats`. A number far beyond all
of the fit data is unseen, too, but stays in the features: what the network makes of it comes on
top, and reasons show it. So does a number that is none of the column's levels, a fraction in a
column of whole numbers, and a value that breaks a relation with other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.absent import Absent, AbsentOf
from vaewatch.scoring.features.between.exclusions import Exclusions
from vaewatch.scoring.features.between.lookups import Lookups
from vaewatch.scoring.features.between.relations import Relations
from vaewatch.scoring.features.events import Events
from vaewatch.scoring.features.feature import (
    MISSING_FLAG,
    TILE,
    Feature,
    Features,
    places_of_columns,
    signed_expm1,
)
from vaewatch.scoring.features.levels import LevelsOf
from vaewatch.scoring.features.limits import Limits
from vaewatch.scoring.features.numbers import Numbers
from vaewatch.scoring.features.shared import SharedOf
from vaewatch.scoring.features.state import Exclusion, Lookup, Relation
from vaewatch.scoring.schema import Column, Kind, Schema, code_name, missing_code
from vaewatch.scoring.table import LARGEST_INTEGER, Table
from vaewatch.scoring.time.calendar import on_circle
from vaewatch.scoring.time.circles import COSINE, SINE
from vaewatch.scoring.time.parts import shown

Value = float | str | bool | None  # of one cell, in the column's own units
# What an artifact knows of columns, beside their features and constants:
FIELDS = "limits levels whole absent relations exclusions lookups shared zeros".split()


def unseen_nats(n: int) -> float:
    """Return the cost in nats of an unseen value, given n fit records.

    Laplace's rule of succession gives it the probability 1 / (n + 2). It costs 1 / (2 p), more
    than any event that was seen, and stands first among the reasons. Of the records that
    calibrate, those that bring an event that was not fitted to cost as much.
    """
    return (n + 2) / 2


@dataclass(frozen=True)
class Vectorizer:
    """Turns tables into features, in the same way in training, batch and service.

    It is fitted by `vaewatch.training.records.features`.

    Attributes:
        features: the D features, sorted by `feature_order` and then by column.
        constants: columns with a single value, or code, in the fit data.
        limits: of numeric columns, (low, high): a number beyond them is unseen. Artifacts of
            before have none.
        levels: of numeric columns, all values that they may have: another number is unseen.
        whole: numeric columns in which a fraction is unseen.
        absent: of circular columns, the hours or weekdays that are unseen.
        relations: between numeric columns; who breaks one has an unseen number.
        exclusions: of columns that know some of their values; of two that exclude each other one
            is unseen.
        lookups: what numbers are by what other columns hold; another number is unseen.
        shared: of columns with more categories than indicators, the records of each that shares
            one.
        zeros: numeric columns in which 0 is a value of its own, by which exclusions go.
    """

    schema: Schema
    features: tuple[Feature, ...]
    constants: Mapping[str, float]
    limits: Limits = field(default_factory=dict)
    levels: LevelsOf = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    absent: AbsentOf = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    shared: SharedOf = field(default_factory=dict)
    zeros: tuple[str, ...] = ()

    @cached_property
    def column_of(self) -> NDArray[np.int64]:
        """The index of each feature's column in the schema, (D,)."""
        at = {name: i for i, name in enumerate(self.schema.names)}
        return np.array([at[feature.column] for feature in self.features], dtype=np.int64)

    @cached_property
    def column_map(self) -> NDArray[np.float32]:
        """1 where a feature belongs to a column, else 0, (D, C)."""
        return np.eye(len(self.schema.names), dtype=np.float32)[self.column_of]

    def transform(self, table: Table) -> Features:
        """Return the features of a table's N records, (N, D)."""
        n = len(table)
        values = np.empty((n, len(self.features)), dtype=np.float32)
        unseen = np.zeros((n, len(self.schema.columns)), dtype=bool)
        if n <= TILE:
            some = self._write(table.numbers, table.codes, values, unseen)
            return Features(values, unseen, some)
        found = [
            self._write(table.numbers[tile], table.codes[tile], values[tile], unseen[tile])
            for tile in (slice(start, start + TILE) for start in range(0, n, TILE))
        ]
        return Features(values, unseen, any(found))

    def _write(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        values: NDArray[np.float32],
        unseen: NDArray[np.bool_],
    ) -> bool:
        """Fill in at most TILE records; return whether any value is unseen."""
        found = self._numbers.write(numbers, values, unseen)
        if self._absent is not None:
            found |= self._absent.mark(numbers, unseen)
        if self.related is not None:
            found |= self.related.mark(numbers, unseen)
        found |= self._events.write(codes, values, unseen)
        if self.excluded is not None:
            found |= self.excluded.mark(numbers, codes, unseen)
        if self.looked_up is not None:
            found |= self.looked_up.mark(numbers, codes, unseen)
        return found

    @cached_property
    def _numbers(self) -> Numbers:
        return Numbers.of(
            self.schema, self.features, self.constants, self.limits, self.levels, self.whole
        )

    @cached_property
    def _absent(self) -> Absent | None:
        return Absent.of(self.schema, self.absent)

    @cached_property
    def related(self) -> Relations | None:
        """The tables of the relations; None without one."""
        return Relations.of(self.schema, self.relations)

    @cached_property
    def excluded(self) -> Exclusions | None:
        """The tables of the exclusions; None without one."""
        return Exclusions.of(self.schema, self.levels, self.exclusions, self.zeros)

    @cached_property
    def looked_up(self) -> Lookups | None:
        """The tables of the lookups; None without one."""
        return Lookups.of(self.schema, self.levels, self.lookups)

    @cached_property
    def _events(self) -> Events:
        return Events.of(self.schema, self.features, self.constants, self.shared)

    @cached_property
    def scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations of the features, (D,) each."""
        mean = np.array([feature.mean for feature in self.features])
        return mean, np.array([feature.deviation for feature in self.features])

    def raw(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Undo the standardisation of features, (..., D)."""
        mean, deviation = self.scale
        return np.asarray(features * deviation + mean)

    @cached_property
    def by_column(self) -> dict[str, ColumnFeatures]:
        """Where the features of each column are, in the schema's order."""
        places = places_of_columns(self.features)
        return {
            column.name: ColumnFeatures.of(
                column,
                {i: self.features[i] for i in places.get(column.name, [])},
                self.constants.get(column.name),
            )
            for column in self.schema.columns
        }

    def expected(self, raw: NDArray[np.float64], column: Column) -> Value:
        """Return the value that a reconstruction expects in a column, in the column's own units.

        Args:
            raw: one record's reconstruction, (D,), no longer standardised.
        """
        return self.by_column[column.name].expected(raw)

    def to_json(self) -> dict[str, Any]:
        """Return the features as rows of [column, code, mean, deviation, log1p]."""
        rows = [[f.column, f.code, f.mean, f.deviation, f.log1p] for f in self.features]
        known = {name: msgspec.to_builtins(getattr(self, name)) for name in FIELDS}
        return {"features": rows, "constants": dict(self.constants), **known}

    @classmethod
    def from_json(cls, schema: Schema, data: Mapping[str, Any]) -> Vectorizer:
        try:
            features = tuple(Feature(*row) for row in data["features"])
            limits = {name: (low, high) for name, (low, high) in data.get("limits", {}).items()}
            levels = {name: tuple(own) for name, own in data.get("levels", {}).items()}
            whole = tuple(data.get("whole", ()))
            absent = {name: tuple(own) for name, own in data.get("absent", {}).items()}
            relations = msgspec.convert(data.get("relations", ()), tuple[Relation, ...])
            exclusions = msgspec.convert(data.get("exclusions", ()), tuple[Exclusion, ...])
            lookups = msgspec.convert(data.get("lookups", ()), tuple[Lookup, ...])
            shared = {name: tuple(own) for name, own in data.get("shared", {}).items()}
            zeros = tuple(data.get("zeros", ()))
            known = (limits, levels, whole, absent, relations, exclusions, lookups, shared, zeros)
            return cls(schema, features, dict(data["constants"]), *known)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"features must be as this release writes them, got {error}."
            ) from error


@dataclass(frozen=True)
class ColumnFeatures:
    """Where the features of one column are, to read a reconstruction back.

    A numeric column may have a value, a missing flag, or both; a circular one has a cosine and a
    sine for its value. A discrete one has its indicators
    side by side.

    Attributes:
        labels: the values that the indicators stand for.
        otherwise: the expected value of a column that has no features.
        circle: the cosine and the sine of a circular column.
    """

    column: Column
    value: int | None
    log1p: bool
    flag: int | None
    events: slice
    labels: tuple[Value, ...]
    otherwise: Value
    circle: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, column: Column, own: Mapping[int, Feature], constant: float | None
    ) -> ColumnFeatures:
        if constant is not None:
            own = {}  # a feature that exists only because a network must have one
        discrete = not column.is_number
        circle = [i for i, f in own.items() if f.code in (COSINE, SINE)]
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
            circle=(circle[0], circle[1]) if circle else None,
        )

    @property
    def number(self) -> int | None:
        """Where its number is, or the first part of it."""
        return self.circle[0] if self.circle is not None else self.value

    def expected(self, raw: NDArray[np.float64]) -> Value:
        if self.labels:
            return self.labels[int(raw[self.events].argmax())]
        if self.flag is not None and raw[self.flag] > 0.5:
            return self.otherwise  # None where missing is the likelier
        if self.circle is not None and self.column.part is not None:
            cosine, sine = raw[self.circle[0]], raw[self.circle[1]]
            period = self.column.period or 1.0
            return shown(float(on_circle(cosine, sine, period)), self.column.part)
        if self.value is None:
            return self.otherwise
        number = raw[self.value]
        return _number(self.column, float(signed_expm1(number) if self.log1p else number))


def _label(column: Column, code: int) -> str | bool | None:
    if column.kind is Kind.BOOLEAN:
        return None if code == missing_code(column) else bool(code)
    return code_name(column, code)


def _number(column: Column, number: float) -> float:
    whole = column.integer and abs(number) < LARGEST_INTEGER
    return round(number) if whole else float(f"{number:.6g}")
