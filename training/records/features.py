"""Table -> Vectorizer: which features each column gives, and their scale in the fit data."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import (
    MISSING_FLAG,
    Feature,
    feature_order,
    signed_log1p,
)
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import PLACES, Column, Kind, other_code
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.calendar import angle
from vaewatch.scoring.time.circles import COSINE, SINE
from vaewatch.training.unseen.between.exclusions import exclusions_of
from vaewatch.training.unseen.between.lookups import lookups_of
from vaewatch.training.unseen.between.orders import orders_of
from vaewatch.training.unseen.between.parts import parts_of
from vaewatch.training.unseen.between.relations import relations_of
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.between.varied import Varied
from vaewatch.training.unseen.calendar import absent_of
from vaewatch.training.unseen.known import Known
from vaewatch.training.unseen.names import shared_of
from vaewatch.training.unseen.order import by_time, in_series

COUNT_RANGE = 20.0
COUNT_SKEWNESS = 1.0
LEAST_OF_CIRCLE = 1e-3  # deviation of a cosine: a third of a second of a day is no difference


def fit_vectorizer(table: Table) -> Vectorizer:
    """Learn means, deviations and events; a column without spread gives no feature (see
    `vaewatch.scoring.features.vectorizer`).
    """
    schema = table.schema
    features: list[Feature] = []
    constants: dict[str, float | int] = {}
    known: dict[str, Known] = {}
    series, time = in_series(table), by_time(table)
    for column, numbers in zip(schema.numeric, table.numbers.T, strict=True):
        given = numbers[~np.isnan(numbers)]
        if len(given) and given.min() == given.max():
            constants[column.name] = float(given[0])
        if column.kind is Kind.CIRCULAR:
            features += _circular_features(column, numbers)
        else:
            features += _numeric_features(column, numbers)
            own, by = numbers[series], numbers[time]
            known[column.name] = Known.of(own[~np.isnan(own)], by[~np.isnan(by)])
    for column, codes in zip(schema.discrete, table.codes.T, strict=True):
        if len(codes) and codes.min() == codes.max():
            constants[column.name] = int(codes[0])
        features += _discrete_features(column, codes)
    if not features:  # nothing varies: one feature that is always 0, so that there is a network
        only = schema.columns[0]
        event = None if only.is_number else int(table.codes[0, 0])
        features = [Feature(only.name, event, constants.get(only.name, 1.0), 1.0)]
    levels = {name: own.levels for name, own in known.items() if own.levels is not None}
    zeros = tuple(name for name, own in known.items() if own.zero)
    every, varied = Together.of(table, levels, zeros), Varied.of(table)
    relations = relations_of(varied)
    return Vectorizer(
        schema,
        tuple(sorted(features, key=feature_order)),
        constants,
        limits={name: own.limits for name, own in known.items() if own.limits is not None},
        levels=levels,
        whole=tuple(name for name, own in known.items() if own.whole),
        absent=absent_of(table),
        relations=(*relations, *orders_of(varied, relations), *parts_of(varied, relations)),
        exclusions=exclusions_of(every),
        lookups=lookups_of(every, varied, levels, relations),
        shared=shared_of(table),
        zeros=zeros,
    )


def is_count(values: NDArray[np.float64]) -> bool:
    """Return whether (N,) values are counts with a heavy tail: non-negative integers of a wide
    range, skewed to the right.
    """
    if not len(values) or values.min() < 0 or np.any(values != np.round(values)):
        return False
    return float(np.ptp(values)) > COUNT_RANGE and skewness(values) > COUNT_SKEWNESS


def skewness(values: NDArray[np.float64]) -> float:
    """Return the third standardised moment of (N,) values; 0 without spread."""
    centred = values - values.mean()
    deviation = math.sqrt(float(np.mean(centred**2)))
    return float(np.mean((centred / deviation) ** 3)) if deviation > 0 else 0.0


def _numeric_features(column: Column, numbers: NDArray[np.float64]) -> Iterator[Feature]:
    missing = np.isnan(numbers)
    given = numbers[~missing]
    if len(given) and given.min() < given.max():
        count = is_count(given)
        values = signed_log1p(given) if count else given
        yield Feature(column.name, None, float(values.mean()), _deviation(values), count)
    yield from _flag(column, missing)


def _circular_features(column: Column, numbers: NDArray[np.float64]) -> Iterator[Feature]:
    """Yield the cosine and the sine, which vary by more than rounding, and a missing flag."""
    missing = np.isnan(numbers)
    given = numbers[~missing]
    if len(given) and given.min() < given.max():
        angles = angle(given, column.period or 1.0)
        for code, raw in ((COSINE, np.cos(angles)), (SINE, np.sin(angles))):
            deviation = max(float(raw.std()), LEAST_OF_CIRCLE)
            yield Feature(column.name, code, float(raw.mean()), deviation)
    yield from _flag(column, missing)


def _flag(column: Column, missing: NDArray[np.bool_]) -> Iterator[Feature]:
    share = float(missing.mean())
    if 0 < share < 1:
        yield _event(column, MISSING_FLAG, share)


def _event(column: Column, code: int, share: float) -> Feature:
    """Return the indicator of an event that this share of the fit records has, 0 < share < 1.

    It is scaled so that its rarer side costs what its likelihood does, s^2 / 2 = -ln p, for a step
    s. With a variance of 1 it would cost 1 / (2 p): the records with the rarest of many categories
    would score far above one whose number lies far outside of all that was seen.
    """
    return Feature(column.name, code, share, 1 / math.sqrt(-2 * math.log(min(share, 1 - share))))


def _deviation(values: NDArray[np.float64]) -> float:
    """Return the standard deviation; 1 if rounding leaves none, as with 1e16 and 1e16 + 2."""
    with np.errstate(over="ignore"):
        deviation = float(values.std())
    if not math.isfinite(deviation):
        return float(np.abs(values).max())
    return deviation if deviation > 0 else 1.0


def _discrete_features(column: Column, codes: NDArray[np.int32]) -> Iterator[Feature]:
    other = other_code(column)
    together = (codes >= PLACES) & (codes < other)  # no code of a boolean column is
    events, counts = np.unique(np.where(together, other, codes), return_counts=True)
    if len(events) < 2:
        return
    for code, count in zip(events, counts, strict=True):
        share = float(count) / len(codes)
        yield _event(column, int(code), share)
