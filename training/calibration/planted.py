"""normal records -> planted anomalies: the same records, each with a fault in a few columns.

Few data have labels, but a fault can be planted in any record. These are the synthetic anomalies
that the field uses: values that do not go together (the corruption of Yoon et al., 2020), numbers
far from all others, missing values, and categories that are not in the schema.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import signed_expm1, signed_log1p
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import Kind, missing_code, other_code
from vaewatch.scoring.table import Table

FAR = 4.0  # standard deviations of its column that a number is moved by
MOST_MOVED = 3  # numbers of one record

QUARTILES = (0.25, 0.75)
NORMAL_QUARTILE = 0.6745  # standard deviations from the mean of a normal law to its quartiles

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Fault(StrEnum):
    """What is wrong with a planted anomaly."""

    SHUFFLED = "shuffled"  # about half of the columns each hold the value of another record
    FAR = "far"  # one to three numbers are moved by FAR standard deviations
    MISSING = "missing"  # one value is missing
    UNSEEN = "unseen"  # one category is not in the schema


def plant(
    fault: Fault, table: Table, vectorizer: Vectorizer, rng: np.random.Generator
) -> Table | None:
    """Return the records with this fault in each, or None if the columns allow no such fault.

    The texts stay those of the records; no score depends on them.
    """
    match fault:
        case Fault.SHUFFLED:
            return _shuffle(table, rng)
        case Fault.FAR:
            return _move(table, vectorizer, rng)
        case Fault.MISSING:
            return _lose(table, rng)
        case Fault.UNSEEN:
            return _rename(table, rng)


def _shuffle(table: Table, rng: np.random.Generator) -> Table | None:
    n, numeric, columns = len(table), len(table.schema.numeric), len(table.schema.columns)
    if columns < 2:
        return None
    other = rng.integers(n, size=(n, columns))
    source = np.where(rng.random((n, columns)) < 0.5, other, np.arange(n)[:, None])
    return replace(
        table,
        numbers=np.take_along_axis(table.numbers, source[:, :numeric], 0),
        codes=np.take_along_axis(table.codes, source[:, numeric:], 0),
    )


def _move(table: Table, vectorizer: Vectorizer, rng: np.random.Generator) -> Table | None:
    """Move numbers in their feature's units: a count by deviations of its logarithm.

    The deviation is that of these records or, where a few of them stretch it, that of the fit or
    of the records' quartiles.
    """
    if not table.schema.numeric:
        return None
    scale = {feature.column: feature for feature in vectorizer.features if feature.code is None}
    own = [scale.get(column.name) for column in table.schema.numeric]
    logs = np.array([bool(feature and feature.log1p) for feature in own], dtype=bool)
    fitted = np.array([feature.deviation if feature else 0.0 for feature in own])
    values = np.where(logs, signed_log1p(table.numbers), table.numbers)
    given = np.ma.masked_invalid(values)
    values = np.where(given.mask, given.mean(0).filled(0.0), values)  # from the mean, if missing
    deviation = np.minimum(given.std(0).filled(0.0), np.maximum(fitted, _by_quartiles(values)))
    deviation[len(table.schema.measured) :] = 0.0  # a circle has no far numbers
    if not deviation.any():
        return None
    at = _choose(deviation > 0, rng.integers(1, MOST_MOVED + 1, size=len(table)), rng)
    sign = np.where(rng.random(at.shape) < 0.5, -1.0, 1.0)
    moved = values + sign * FAR * deviation
    moved = np.where(logs, signed_expm1(moved), moved)
    return replace(table, numbers=np.where(at, moved, table.numbers))


def _by_quartiles(values: Floats) -> Floats:
    """(N, C) -> (C,): the deviation of each column by its quartiles, which a few far records do
    not stretch.
    """
    low, high = np.quantile(values, QUARTILES, axis=0)
    return np.asarray((high - low) / (2 * NORMAL_QUARTILE))


def _lose(table: Table, rng: np.random.Generator) -> Table | None:
    numeric, columns = len(table.schema.numeric), len(table.schema.columns)
    given = np.ones(columns, dtype=bool)
    given[len(table.schema.measured) : numeric] = False  # no record lacks its calendar alone
    if not given.any():
        return None
    at = _choose(given, np.ones(len(table), dtype=np.int64), rng)
    missing = np.array([missing_code(column) for column in table.schema.discrete], dtype=np.int32)
    return replace(
        table,
        numbers=np.where(at[:, :numeric], np.nan, table.numbers),
        codes=np.where(at[:, numeric:], missing, table.codes),
    )


def _rename(table: Table, rng: np.random.Generator) -> Table | None:
    discrete = table.schema.discrete
    named = np.array([column.kind is Kind.CATEGORICAL for column in discrete], dtype=bool)
    if not named.any():
        return None
    at = _choose(named, np.ones(len(table), dtype=np.int64), rng)
    other = np.array([other_code(column) for column in discrete], dtype=np.int32)
    return replace(table, codes=np.where(at, other, table.codes))


def _choose(allowed: Bools, number: NDArray[np.int64], rng: np.random.Generator) -> Bools:
    """Choose columns at random for each record.

    Args:
        allowed: (C,) which columns may be chosen.
        number: (N,) how many are; of fewer allowed ones, all.

    Returns:
        (N, C) which are chosen.
    """
    draws = np.where(allowed, rng.random((len(number), len(allowed))), 2.0)
    rank = draws.argsort(1).argsort(1)
    return np.asarray((rank < number[:, None]) & allowed)
