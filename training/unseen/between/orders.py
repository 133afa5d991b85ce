"""numbers of a table -> orders: columns of which one is never less than the other.

A high is above a low, and a sale above its profit. Where two of them changed places, each is
usual by itself, and so is their difference but for its sign. What was never negative may still be
so one day. So columns have an order only if zero is an edge of their differences
(`vaewatch.training.unseen.limits`), in either half of the records. Differences are measured by the
numbers themselves: half a euro is much between small prices, and nothing between large ones.

An order is a relation with one limit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Relation
from vaewatch.scoring.table import Table
from vaewatch.training.unseen.between.relations import varied, varies
from vaewatch.training.unseen.between.together import TENTHS
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import LARGEST, limits_of
from vaewatch.training.unseen.order import series_by_time, spread

EXPECTED = 100  # records that could have been the other way round
MOST = 256  # orders of a table, so that the manifest stays small, and a record quick
SEARCHED = 4_000  # records among which orders are sought
TAILS = 20_000  # records that show whether zero is an edge

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


def orders_of(table: Table, relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """Return the orders of a table's numeric columns; where there are too many, those that could
    have been the other way round most often.

    Args:
        relations: of the table; two columns that have one need no order.
    """
    names, x = varied(table)
    related = {frozenset(each.columns) for each in relations}
    found: list[Relation] = []
    for more, less in _candidates(x, _clumps(x, series_by_time(table))):
        columns = names[more], names[less]
        if len(found) < MOST and frozenset(columns) not in related:
            found += _order(columns, x[:, more], x[:, less])
    return tuple(found)


def _order(columns: tuple[str, str], more: Numbers, less: Numbers) -> list[Relation]:
    """Return the order of two columns, (N,) each; none if they have none."""
    rows = np.flatnonzero(~np.isnan(more) & ~np.isnan(less) & ((more != 0) | (less != 0)))
    more, less = more[rows], less[rows]
    if len(rows) < ENOUGH or (more < less).any():
        return []
    some = spread(len(rows), TAILS)
    apart = _apart(more[some], less[some])
    if not varies(apart) or not all(map(_has_edge, np.array_split(apart, 2))):
        return []
    with np.errstate(over="ignore"):
        middle = min(float(np.median(more - less)), LARGEST)
    return [Relation(columns, weights=(1.0, -1.0), low=0.0, middle=middle)]


def _apart(more: Numbers, less: Numbers) -> Numbers:
    """Return by what share of the larger one two numbers differ, (n,), from 0 to 2."""
    size = np.maximum(np.abs(more), np.abs(less))
    return np.asarray(more / size - less / size)


def _has_edge(apart: Numbers) -> bool:
    """Return whether the next of (n,) differences practically cannot be negative."""
    limits = limits_of(apart)
    return limits is not None and limits[0] >= -2 * FLOAT32_ROUNDING


def _candidates(x: Numbers, clumps: Numbers) -> list[tuple[int, int]]:
    """Return which columns of N records by time may have an order, those first that could have
    been the other way round most often.
    """
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


def _clumps(x: Numbers, series: Ints) -> Numbers:
    """Return how many records in a row count as one in each of C columns, (C,): by how much less
    often its numbers go from one side of their median to the other than in any order.

    Args:
        x: (N, C) by time. series: (N,) their places one after the other, as each entity brought
            them.
    """
    parts = np.array_split(np.arange(len(x)), TENTHS)
    return np.array([_clump(own, parts, series) for own in x.T])


def _clump(own: Numbers, parts: list[Ints], series: Ints) -> float:
    above = np.zeros(len(own), bool)
    for part in parts:
        given = own[part][~np.isnan(own[part])]
        above[part] = own[part] > (np.median(given) if len(given) else 0.0)
    above = above[series][~np.isnan(own[series])]
    share = np.count_nonzero(above) / len(above)
    crossed = max(int(np.count_nonzero(np.diff(above))), 1)
    return max(2 * share * (1 - share) * len(above) / crossed, 1.0)


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
