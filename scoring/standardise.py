"""typed columns -> standardised features, in few array operations.

These are the two hot loops of `vaewatch.scoring.features.Vectorizer`, one for numeric and one for
discrete columns. Every lookup table is built once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Schema, missing_code
from vaewatch.scoring.spelling.categories import half, is_half
from vaewatch.scoring.time.circles import Circles

FLOAT32_ROUNDING = 2.0**-23  # relative distance of neighbouring float32 numbers
TILE = 1024  # records at a time, so that intermediate arrays stay in the cache
MISSING_FLAG = -1  # in place of a code
LARGEST_LOG = 700.0  # exp of more overflows a float64
INDICATOR = 4  # the sort key of an indicator
FEATURE_LIMIT = 1e6  # standard deviations: float32 stays finite, and no verdict changes
# arrays, or NumPy would convert them each time
_LEAST, _MOST = np.array(-FEATURE_LIMIT), np.array(FEATURE_LIMIT)


@dataclass(frozen=True)
class Feature:
    """One number of the network's input: (raw - mean) / deviation.

    `code`: None of a numeric column's value, -1 of its missing flag, -2 and -3 of the cosine and
    sine of a circular one, else the discrete code indicated.
    """

    column: str
    code: int | None
    mean: float
    deviation: float
    log1p: bool = False

    @property
    def is_event(self) -> bool:
        return self.code is not None and self.code >= MISSING_FLAG  # an indicator or a flag


@dataclass(frozen=True)
class Features:
    """The features of N records.

    Attributes:
        values: (N, D) float32, standardised: the network's input.
        unseen: (N, C), whether a column holds a value that the fit data never had.
        any_unseen: False only if no column does; saves looking at `unseen`.
    """

    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    any_unseen: bool

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Features:
        return Features(self.values[rows], self.unseen[rows], self.any_unseen)


def feature_order(feature: Feature) -> int:
    """Return the sort key of a feature, by which each kind of feature is one slice: counts, other
    values, those of circles, missing flags, indicators.
    """
    if feature.code is None:
        return 0 if feature.log1p else 1
    if not feature.is_event:
        return 2
    return 3 if feature.code == MISSING_FLAG else INDICATOR


def places_of_columns(features: Sequence[Feature]) -> dict[str, list[int]]:
    """Return the indices of each column's features."""
    places: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        places.setdefault(feature.column, []).append(i)
    return places


def signed_log1p(
    x: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return sign(x) log1p(|x|): log1p for counts that keeps negative ones far from zero."""
    return np.copysign(np.log1p(np.abs(x)), x, out=out)


def signed_expm1(x: Any) -> Any:
    """Invert `signed_log1p`, (N,) or one; the result is finite, however far off x is."""
    return np.copysign(np.expm1(np.minimum(np.abs(x), LARGEST_LOG)), x)


@dataclass(frozen=True)
class Numbers:
    """Lookup tables for the numeric columns.

    Attributes:
        order: the numeric columns: first those with a value among the features, then the constant
            ones, then the rest. The other arrays follow this order.
        mean, scale: turn raw values into features, and constants into 0.
        counts: how many leading columns are taken in log1p.
        values, constants: the slices of the columns with a value, and of the constant ones.
        flags: the slice of the missing flags among the features; flag_of: their numeric columns;
            flag_off, flag_on: their two values.
        columns: the schema index of each column.
        never_missing: whether a column was never missing in the fit data.
        tolerance: how far from each constant a value may lie that equals it (`_changed`).
        halves: the float16 that each constant rounds to; NaN where that is a number of its own.
        circles: the circular columns; None without one.
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
    tolerance: NDArray[np.float64]
    halves: NDArray[np.float64]
    circles: Circles | None

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
        placed = set(order)  # not the list: there may be 10,000 columns
        order += [name for name in numeric if name not in placed]
        mean, deviation = _floats(f.mean for f in flags), _floats(f.deviation for f in flags)
        before_flags = sum(not f.is_event for f in features)
        return cls(
            order=_ints(numeric[name] for name in order),
            mean=_padded([*(f.mean for f in values), *fixed.values()], 0.0, len(order)),
            scale=_padded([1.0 / f.deviation for f in values], 1.0, len(order)),
            counts=sum(f.log1p for f in values),
            values=slice(0, len(values)),
            constants=slice(len(values), len(values) + len(fixed)),
            flags=slice(before_flags, before_flags + len(flags)),
            flag_of=_ints(numeric[f.column] for f in flags),
            flag_off=(-mean / deviation).astype(np.float32),
            flag_on=((1.0 - mean) / deviation).astype(np.float32),
            columns=_ints(place[name] for name in order),
            never_missing=~np.isin(order, [f.column for f in flags]),
            tolerance=_floats(
                0.0 if schema.numeric[numeric[name]].integer else abs(value) * FLOAT32_ROUNDING
                for name, value in fixed.items()
            ),
            halves=_floats(
                half(value) if is_half(half(value)) else np.nan for value in fixed.values()
            ),
            circles=Circles.of(schema, features) if schema.circular else None,
        )

    def write(
        self,
        numbers: NDArray[np.float64],
        values: NDArray[np.float32],
        unseen: NDArray[np.bool_],
    ) -> bool:
        """Fill in the features of at most TILE records; return whether any value is unseen.

        For a single record each NumPy call costs as much as 1,000 elements, so there are few.

        Args:
            numbers: (N, numeric columns), NaN where missing.
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
        some_missing = np.count_nonzero(missing)  # five times as fast as `any` for one record
        found = some_missing or np.count_nonzero(raw[:, self.constants])
        if found:
            raw[missing] = 0.0
            moved = raw[:, self.constants] != 0.0
            if np.count_nonzero(moved):
                moved &= self._changed(numbers)
            missing &= self.never_missing
            missing[:, self.constants] |= moved
            unseen[:, self.columns] = missing
            found = np.count_nonzero(missing)
        values[:, self.values] = raw[:, self.values]
        if self.circles is not None:
            self.circles.write(numbers, values)
        if len(self.flag_of):
            flagged = np.isnan(numbers.take(self.flag_of, axis=1))
            values[:, self.flags] = np.where(flagged, self.flag_on, self.flag_off)
        return bool(found)

    def _changed(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which values of the constant columns, (N, constants), are not the constant.

        A value is the constant if one of them is the float32 that the other rounds to: Parquet,
        NumPy and FP32 tensors carry 0.1 as 0.10000000149, and the same of float16, if its digits
        show that it was rounded. Values that no float32 tells apart are equal too, except whole
        numbers, such as the dates 20250104 and 20250105.
        """
        values = numbers.take(self.order[self.constants], axis=1)
        constant = self.mean[self.constants]
        with np.errstate(over="ignore"):
            same = values.astype(np.float32) == constant
            same |= values == constant.astype(np.float32)
            same |= values == self.halves
            same |= (values.astype(np.float16) == constant) & (self.halves == constant)
        same |= np.abs(values - constant) <= self.tolerance
        return np.asarray(~same)


@dataclass(frozen=True)
class Events:
    """Lookup tables for the discrete columns.

    The codes of all columns stand in one row of E events: an event is its column's start plus its
    code.

    Attributes:
        start: the first event of each discrete column.
        columns: the schema index of each discrete column.
        varying: the columns that have indicators.
        block, blocks: the slice of all indicators among the features, and of each column's.
        off: the indicators' values when their event does not happen.
        place, on: (E,) the indicator of each event and its value when the event happens; any of
            the column's indicators for an event without one.
        unseen: (E,) whether the fit data never had the event.
        rows: (TILE, 1) the offset of each record's features.
    """

    start: NDArray[np.int64]
    columns: NDArray[np.int64]
    varying: NDArray[np.int64]
    block: slice
    blocks: tuple[slice, ...]
    off: NDArray[np.float32]
    place: NDArray[np.int64]
    on: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls, schema: Schema, features: Sequence[Feature], constants: Mapping[str, float]
    ) -> Events:
        first = sum(feature_order(f) < INDICATOR for f in features)
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
            unseen=~known,
            rows=np.arange(TILE)[:, None] * len(features),
        )

    def write(
        self,
        codes: NDArray[np.int32],
        values: NDArray[np.float32],
        unseen: NDArray[np.bool_],
    ) -> bool:
        """Fill in the features of at most TILE records; return whether any value is unseen.

        Args:
            codes: (N, discrete columns).
        """
        values[:, self.block] = self.off
        event = codes + self.start
        happened = event.take(self.varying, axis=1)
        at = self.place.take(happened) + self.rows[: len(codes)]
        values.put(at, self.on.take(happened))
        first = self.unseen.take(event)
        if not np.count_nonzero(first):
            return False
        unseen[:, self.columns] = first
        for row, column in zip(*np.nonzero(first), strict=True):
            values[row, self.blocks[column]] = 0.0  # the network gets the column's mean
        return True


def _padded(values: Sequence[float], filler: float, length: int) -> NDArray[np.float64]:
    return _floats([*values, *[filler] * (length - len(values))])


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Iterable[float]) -> NDArray[np.float64]:
    return np.array(list(values), dtype=np.float64)
