"""typed columns -> standardised features, as a handful of array operations.

The two hot loops of `vaewatch.scoring.features.Vectorizer`: one for the numeric columns, one for
the discrete ones, with all that they look up worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Schema, missing_code

TILE = 1024  # records at a time: what is made on the way stays in the cache
MISSING_FLAG = -1  # in the place of a code
FEATURE_LIMIT = 1e6  # standard deviations; keeps float32 finite, far beyond what changes a verdict
_LEAST, _MOST = np.array(-FEATURE_LIMIT), np.array(FEATURE_LIMIT)  # arrays: else made at each use


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
class Features:
    """What the network sees of N records, and what no network needs to see.

    values: (N, D) float32, standardised. first_time: (N, C), which columns hold an event that the
    fit data never had. may_surprise: False where none does for certain.
    """

    values: NDArray[np.float32]
    first_time: NDArray[np.bool_]
    may_surprise: bool

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Features:
        return Features(self.values[rows], self.first_time[rows], self.may_surprise)


def feature_order(feature: Feature) -> int:
    """Features stand in this order, so that each sort of them is one slice: counts, other values,
    missing flags, indicators.
    """
    if feature.code is None:
        return 0 if feature.log1p else 1
    return 2 if feature.code == MISSING_FLAG else 3


def places_of_columns(features: Sequence[Feature]) -> dict[str, list[int]]:
    """column -> its features' indices."""
    places: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        places.setdefault(feature.column, []).append(i)
    return places


def signed_log1p(
    x: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """log1p for counts, odd, so that a negative count stays as far away as it is."""
    return np.copysign(np.log1p(np.abs(x)), x, out=out)


@dataclass(frozen=True)
class Numbers:
    """The values and missing flags of the numeric columns.

    order: the numeric columns, first those that have values among the features, then those that
    were constant in the fit data, then others; the rest is in this order too. mean, scale: they
    make features of the first and 0 of the second. counts: how many are taken in log1p. values,
    constants: the places of the first and second. columns: their schema indices. flags: places of
    missing flags among the features; flag_of: their numeric columns; flag_off, flag_on: what they
    are.
    """

    order: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    counts: int
    values: slice
    constants: slice
    flags: slice
    flag_of: NDArray[np.int64]
    flag_off: NDArray[np.float32]
    flag_on: NDArray[np.float32]
    columns: NDArray[np.int64]
    never_missing: NDArray[np.bool_]

    @classmethod
    def of(
        cls, schema: Schema, features: Sequence[Feature], constants: Mapping[str, float]
    ) -> Numbers:
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        place = {name: i for i, name in enumerate(schema.names)}
        values = [f for f in features if f.code is None]
        flags = [f for f in features if f.code == MISSING_FLAG]
        fixed = {name: value for name, value in constants.items() if name in numeric}
        order = [*(f.column for f in values), *fixed]
        placed = set(order)  # a list would be gone through for each of perhaps 10,000 columns
        order += [name for name in numeric if name not in placed]
        mean, deviation = _floats(f.mean for f in flags), _floats(f.deviation for f in flags)
        return cls(
            order=_ints(numeric[name] for name in order),
            mean=_padded([*(f.mean for f in values), *fixed.values()], 0.0, len(order)),
            scale=_padded([1.0 / f.deviation for f in values], 1.0, len(order)),
            counts=sum(f.log1p for f in values),
            values=slice(0, len(values)),
            constants=slice(len(values), len(values) + len(fixed)),
            flags=slice(len(values), len(values) + len(flags)),
            flag_of=_ints(numeric[f.column] for f in flags),
            flag_off=(-mean / deviation).astype(np.float32),
            flag_on=((1.0 - mean) / deviation).astype(np.float32),
            columns=_ints(place[name] for name in order),
            never_missing=~np.isin(order, [f.column for f in flags]),
        )

    def write(
        self,
        numbers: NDArray[np.float64],
        values: NDArray[np.float32],
        first_time: NDArray[np.bool_],
    ) -> bool:
        """At most TILE records, (N, numeric columns), NaN where missing. False: no surprise.

        For one record each kind of operation costs what 1,000 elements do, so there are few.
        """
        raw = numbers.take(self.order, axis=1)
        if self.counts:
            counts = raw[:, : self.counts]
            signed_log1p(counts, out=counts)
        raw -= self.mean
        raw *= self.scale
        np.maximum(raw, _LEAST, out=raw)
        np.minimum(raw, _MOST, out=raw)
        missing = raw != raw  # NaN
        some_missing = np.count_nonzero(missing)  # `any` takes five times as long for one record
        surprise = some_missing or np.count_nonzero(raw[:, self.constants])
        if surprise:
            raw[missing] = 0.0
            missing &= self.never_missing
            missing[:, self.constants] |= raw[:, self.constants] != 0.0
            first_time[:, self.columns] = missing
        values[:, self.values] = raw[:, self.values]
        if len(self.flag_of):
            flagged = np.isnan(numbers.take(self.flag_of, axis=1))
            values[:, self.flags] = np.where(flagged, self.flag_on, self.flag_off)
        return bool(surprise)


@dataclass(frozen=True)
class Events:
    """The events of all discrete columns in a row, E in all: an event is its column's start plus
    its code.

    columns: schema index of each discrete column. varying: those that have indicators. block:
    places of all indicators among the features; blocks: of each column's. off: what they are when
    their event does not happen. place, on: (E,) the indicator of an event and what it is then, or
    any of the column's where it has none. first_time: (E,). rows: (TILE, 1), where each record's
    features begin.
    """

    start: NDArray[np.int64]
    columns: NDArray[np.int64]
    varying: NDArray[np.int64]
    block: slice
    blocks: tuple[slice, ...]
    off: NDArray[np.float32]
    place: NDArray[np.int64]
    on: NDArray[np.float32]
    first_time: NDArray[np.bool_]
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls, schema: Schema, features: Sequence[Feature], constants: Mapping[str, float]
    ) -> Events:
        first = sum(f.code is None or f.code == MISSING_FLAG for f in features)
        mean, deviation = _floats(f.mean for f in features), _floats(f.deviation for f in features)
        sizes = [missing_code(column) + 1 for column in schema.discrete]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        place, known = np.zeros(start[-1], np.int64), np.zeros(start[-1], bool)
        places, at = places_of_columns(features), {n: i for i, n in enumerate(schema.names)}
        blocks = []
        for column, begin, end in zip(schema.discrete, start, start[1:], strict=False):
            own = places.get(column.name, [])  # side by side
            codes = [int(features[i].code or 0) for i in own]
            blocks.append(slice(own[0], own[-1] + 1) if own else slice(0, 0))
            place[begin:end] = own[0] if own else 0
            place[begin + _ints(codes)] = own
            seen = [*codes, *([int(constants[column.name])] if column.name in constants else [])]
            known[begin + _ints(seen)] = True
        return cls(
            start=start[:-1],
            columns=_ints(at[column.name] for column in schema.discrete),
            varying=_ints(j for j, block in enumerate(blocks) if block.stop),
            block=slice(first, len(features)),
            blocks=tuple(blocks),
            off=(-mean / deviation)[first:].astype(np.float32),
            place=place,
            on=((1.0 - mean) / deviation)[place].astype(np.float32),
            first_time=~known,
            rows=np.arange(TILE)[:, None] * len(features),
        )

    def write(
        self,
        codes: NDArray[np.int32],
        values: NDArray[np.float32],
        first_time: NDArray[np.bool_],
    ) -> bool:
        """At most TILE records, (N, discrete columns). False: no surprise."""
        values[:, self.block] = self.off
        event = codes + self.start
        happened = event.take(self.varying, axis=1)
        at = self.place.take(happened) + self.rows[: len(codes)]
        values.put(at, self.on.take(happened))
        first = self.first_time.take(event)
        if not np.count_nonzero(first):
            return False
        first_time[:, self.columns] = first
        for row, column in zip(*np.nonzero(first), strict=True):
            values[row, self.blocks[column]] = 0.0  # the network sees the column's mean
        return True


def _padded(values: Sequence[float], filler: float, length: int) -> NDArray[np.float64]:
    return _floats([*values, *[filler] * (length - len(values))])


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)
