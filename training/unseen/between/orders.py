"""numbers of a table -> orders: columns of which one is never less than the other.

A high is above a low, and a sale above its profit. Where two of them changed places, each is
usual by itself, and so is their difference but for its sign. What was never negative may still be
so one day. So columns have an order only if, in either half of the records, zero is an edge of
their differences (`vaewatch.training.unseen.limits`), or they are the same now and then, as games
and wins of who played once. Differences are measured by the numbers themselves: half a euro is
much between small prices, and nothing between large ones.

An order is a relation with one limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Relation
from vaewatch.training.unseen.between.varied import Ints, Numbers, Varied, varies
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import LARGEST, limits_of
from vaewatch.training.unseen.order import TENTHS, spread, starts

EXPECTED = 70  # records that could have been the other way round
MEETINGS = 10  # times that two columns are the same, so that less would have come, too
MOST = 256  # orders of a table, so that the manifest stays small, and a record quick
SEARCHED = 4_000  # records among which orders are sought
TAILS = 20_000  # records that show whether zero is an edge

Bools = NDArray[np.bool_]


def orders_of(varied: Varied, relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """Return the orders of numeric columns; where there are too many, those that could have been
    the other way round most often.

    Args:
        relations: of the columns; two that have one need no order.
    """
    related = {frozenset(each.columns) for each in relations}
    found: list[Relation] = []
    for more, less in _candidates(varied):
        own = frozenset((varied.names[more], varied.names[less]))
        if len(found) < MOST and own not in related:
            found += _order(varied, more, less)
    return tuple(found)


def _order(varied: Varied, more: int, less: int) -> list[Relation]:
    """Return the order of two columns; none if they have none."""
    a, b = varied.x[:, more], varied.x[:, less]
    rows = np.flatnonzero(~np.isnan(a) & ~np.isnan(b) & ((a != 0) | (b != 0)))
    if len(rows) < ENOUGH or (a[rows] < b[rows]).any():
        return []
    some = rows[spread(len(rows), TAILS)]
    apart = _apart(a[some], b[some])
    if not varies(apart):
        return []
    if not _meet(a, b, varied.series) and not all(map(_has_edge, np.array_split(apart, 2))):
        return []
    with np.errstate(over="ignore"):
        middle = min(float(np.median(a[rows] - b[rows])), LARGEST)
    columns = varied.names[more], varied.names[less]
    return [Relation(columns, weights=(1.0, -1.0), low=0.0, middle=middle)]


def _apart(more: Numbers, less: Numbers) -> Numbers:
    """Return by what share of the larger one two numbers differ, (n,), from 0 to 2."""
    size = np.maximum(np.abs(more), np.abs(less))
    return np.asarray(more / size - less / size)


def _has_edge(apart: Numbers) -> bool:
    """Return whether the next of (n,) differences practically cannot be negative."""
    limits = limits_of(apart)
    return limits is not None and limits[0] >= -2 * FLOAT32_ROUNDING


def _meet(more: Numbers, less: Numbers, series: Ints) -> bool:
    """Return whether two numbers, (N,) each by time, are often the same and not 0, in either half;
    once for all records of a row in which they are.
    """
    same = (more == less) & (more != 0)
    began = starts(same[series])
    first = np.count_nonzero(series[began] < len(series) // 2)
    return bool(min(first, len(began) - first) >= MEETINGS)


def _candidates(varied: Varied) -> list[tuple[int, int]]:
    """Return which columns may have an order, those first that could have been the other way round
    most often.
    """
    x, clumps = varied.x, varied.clumps
    some = x[spread(len(x), SEARCHED)]
    parts = [part for part in np.array_split(some, TENTHS) if len(part)]
    ascending = [[np.sort(own[~np.isnan(own)]) for own in part.T] for part in parts]
    both = [given.T @ given for given in (1.0 - np.isnan(part) for part in parts)]
    scale = len(x) / max(len(some), 1)
    found: dict[tuple[int, int], float] = {}
    for pair in zip(*np.nonzero(_never_less(some)), strict=True):
        more, less = map(int, pair)
        chances = scale * sum(
            _chance(own[more], own[less]) * count[more, less]
            for own, count in zip(ascending, both, strict=True)
        )
        chances /= min(clumps[more], clumps[less])
        if more != less and chances >= EXPECTED:
            found[more, less] = chances
    return sorted(found, key=lambda pair: -found[pair])


def _never_less(x: Numbers) -> Bools:
    """Return which of the columns of (n, C) are never less than which others, (C, C)."""
    with np.errstate(over="ignore"):
        least = [np.fmin.reduce(own[:, None] - x, axis=0, initial=np.inf) for own in x.T]
    return np.array(least).reshape(x.shape[1], x.shape[1]) >= 0


def _chance(more: Numbers, less: Numbers) -> float:
    """Return how probable it is that a number of the one is less than one of the other, if they
    have nothing to do with each other. Both are ascending.
    """
    if not len(more) or not len(less):
        return 0.0
    return 1.0 - float(np.searchsorted(less, more, side="right").mean()) / len(less)
