"""numbers -> standardised features, in few array operations.

The hot loop of `vaewatch.scoring.features.vectorizer` for numeric columns; every lookup table is
built once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import (
    FEATURE_LIMIT,
    MISSING_FLAG,
    Feature,
    floats,
    ints,
    signed_log1p,
)
from vaewatch.scoring.features.levels import Levels, LevelsOf
from vaewatch.scoring.features.limits import Limits, bounds_of
from vaewatch.scoring.features.same import halves_of, same, tolerance_of
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.time.circles import Circles


@dataclass(frozen=True)
class Numbers:
    """Lookup tables for the numeric columns.

    Attributes:
        order: the numeric columns: first those with a value among the features, then the constant
            ones, then the rest. The other arrays follow this order.
        mean, scale: (1, columns) turn raw values into features, and constants into 0. One record
            has this shape, too, and NumPy takes half as long for two arrays of the same.
        least, most: (1, columns) the features between which a number needs no second look.
        limited: whether a number beyond them is unseen; if not, it is cut there.
        counts: how many leading columns are taken in log1p.
        values, constants: the slices of the columns with a value, and of the constant ones.
        flags: the slice of the missing flags among the features; flag_of: their numeric columns;
            flag_off, flag_on: their two values.
        columns: the schema index of each column.
        never_missing: whether a column was never missing in the fit data.
        tolerance: how far from each constant a value may lie that equals it.
        halves: the float16 that each constant rounds to; NaN where that is a number of its own.
        circles: the circular columns; None without one.
        levels: the columns that know their values; None without one.
    """

    order: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    limited: NDArray[np.bool_]
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
    levels: Levels | None

    @classmethod
    def of(
        cls,
        schema: Schema,
        features: Sequence[Feature],
        constants: Mapping[str, float],
        limits: Limits,
        levels: LevelsOf,
        whole: Collection[str],
    ) -> Numbers:
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        place = {name: i for i, name in enumerate(schema.names)}
        values = [f for f in features if f.code is None]
        flags = [f for f in features if f.code == MISSING_FLAG]
        fixed = {name: value for name, value in constants.items() if name in numeric}
        order = [*(f.column for f in values), *fixed]
        placed = set(order)  # not the list: there may be 10,000 columns
        order += [name for name in numeric if name not in placed]
        mean, deviation = floats(f.mean for f in flags), floats(f.deviation for f in flags)
        before_flags = sum(not f.is_event for f in features)
        least, most = bounds_of(values, limits)
        reach = float(np.abs([least, most]).max(initial=0.0))
        return cls(
            order=ints(numeric[name] for name in order),
            mean=_row([*(f.mean for f in values), *fixed.values()], 0.0, len(order)),
            scale=_row([1.0 / f.deviation for f in values], 1.0, len(order)),
            least=_row(least.tolist(), -FEATURE_LIMIT, len(order)),
            most=_row(most.tolist(), FEATURE_LIMIT, len(order)),
            limited=np.array([name in limits for name in order], dtype=bool),
            counts=sum(f.log1p for f in values),
            values=slice(0, len(values)),
            constants=slice(len(values), len(values) + len(fixed)),
            flags=slice(before_flags, before_flags + len(flags)),
            flag_of=ints(numeric[f.column] for f in flags),
            flag_off=(-mean / deviation).astype(np.float32),
            flag_on=((1.0 - mean) / deviation).astype(np.float32),
            columns=ints(place[name] for name in order),
            never_missing=~np.isin(order, [f.column for f in flags]),
            tolerance=tolerance_of(
                floats(fixed.values()),
                np.array([schema.numeric[numeric[name]].integer for name in fixed], bool),
            ),
            halves=halves_of(fixed.values()),
            circles=Circles.of(schema, features) if schema.circular else None,
            levels=Levels.of(schema, values, levels, whole, reach),
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
        usual = raw >= self.least  # False of NaN
        usual &= raw <= self.most
        odd = raw.size - int(np.count_nonzero(usual))  # five times as fast as `all` for one record
        strange = 0 if self.levels is None else self.levels.strange(numbers, raw)
        found = odd or strange or np.count_nonzero(raw[:, self.constants])
        if found:
            unseen[:, self.columns] = new = self._new(numbers, raw, odd, strange)
            found = np.count_nonzero(new)
        values[:, self.values] = raw[:, self.values]
        if self.circles is not None:
            self.circles.write(numbers, values)
        if len(self.flag_of):
            flagged = np.isnan(numbers.take(self.flag_of, axis=1))
            values[:, self.flags] = np.where(flagged, self.flag_on, self.flag_off)
        return bool(found)

    def _new(
        self,
        numbers: NDArray[np.float64],
        raw: NDArray[np.float64],
        odd: int,
        strange: int,
    ) -> NDArray[np.bool_]:
        """Return which values are unseen, (N, columns), and make their features finite, in place.

        A number beyond its limits stays in the features. With the mean in its place, one that is
        farther out could score less than one within the limits, and no course could show it.

        Args:
            odd: how many values are missing, or not between `least` and `most`.
            strange: how many may be none that their columns know, see `Levels.strange`.
        """
        new = np.isnan(raw)
        far = None
        if odd > np.count_nonzero(new):
            far = ((raw < self.least) | (raw > self.most)) & self.limited
            np.clip(raw, -FEATURE_LIMIT, FEATURE_LIMIT, out=raw)
        raw[new] = 0.0
        new &= self.never_missing
        if far is not None:
            new |= far
        moved = raw[:, self.constants] != 0.0
        if np.count_nonzero(moved):
            moved &= self._changed(numbers)
        new[:, self.constants] |= moved
        if self.levels is not None and strange:
            new |= self.levels.new(numbers).take(self.order, axis=1)
        return new

    def _changed(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which values of the constant columns, (N, constants), are not the constant."""
        values = numbers.take(self.order[self.constants], axis=1)
        return ~same(values, self.mean[0, self.constants], self.tolerance, self.halves)


def _row(values: Sequence[float], filler: float, length: int) -> NDArray[np.float64]:
    return floats([*values, *[filler] * (length - len(values))])[None]
