"""numbers of a table -> parts of a whole: two columns that together are never more than a third.

What was paid and what was deducted are at most what was approved, and nobody who is 30 has spent
31 years at school and at work. An order of either part with the whole does not see that. If the
shares of the two had nothing to do with each other, they would have been more than the whole in
many records: where that did not happen once, it will not. Columns of few values, as indicators
are, have many such sums that mean nothing, and are left out.

Like an order, it is a relation with one limit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Relation
from vaewatch.training.unseen.between.varied import Numbers, Varied, varies
from vaewatch.training.unseen.limits import LARGEST
from vaewatch.training.unseen.order import TENTHS, spread

EXPECTED = 100  # records that could have been more than the whole
LEAST_SEARCHED = 10  # of those that are searched
LEAST_VALUES = 10  # of a column: of one with no more no sum is looked at
SEARCHED = 2_000  # records among which parts are sought
GLANCED = 100  # of them, which tell of most columns that they are no part
MOST_PARTS = 32  # columns that may be a part of a whole: those that are most of it
MOST = 64  # sums of a table, so that the manifest stays small, and a record quick
ROUNDING = 4 * FLOAT32_ROUNDING

Bools = NDArray[np.bool_]


def parts_of(varied: Varied, relations: tuple[Relation, ...]) -> tuple[Relation, ...]:
    """Return which two numeric columns are parts of which third one; where there are too many,
    those that could have been more than it most often.

    Args:
        relations: of the columns; what they say already is no sum of parts.
    """
    x, names = varied.x, varied.names
    known = [frozenset(each.names) for each in relations]
    found: list[tuple[float, Relation]] = []
    for whole, first, second, chances in _candidates(varied):
        columns = names[whole], names[first], names[second]
        left = x[:, whole] - x[:, first] - x[:, second]
        slack = ROUNDING * np.abs(x[:, whole])
        never = not (left < -slack).any() and varies(left)
        if not never or any(own <= frozenset(columns) for own in known):
            continue
        close = x[left < 0.5 * x[:, whole], whole]  # rates are most of a count of one, say
        if len(np.unique(close)) > LEAST_VALUES:
            middle = min(float(np.nanmedian(left)), LARGEST)
            found.append((chances, Relation(columns, (1.0, -1.0, -1.0), low=0.0, middle=middle)))
    found.sort(key=lambda each: -each[0])
    return tuple(relation for _, relation in found[:MOST])


def _candidates(varied: Varied) -> Iterator[tuple[int, int, int, float]]:
    """Yield a whole, its two parts, and in how many records these could have been more than it."""
    some = varied.x[spread(len(varied.x), SEARCHED)]
    few = some[spread(len(some), GLANCED)]
    values = np.array([len(np.unique(own[~np.isnan(own)])) for own in some.T])
    mixed = _mixed(len(some))
    scale = len(varied.x) / max(len(some), 1)
    for whole in np.flatnonzero(values > LEAST_VALUES).tolist():
        columns = np.flatnonzero((values > LEAST_VALUES) & ~np.any(few > few[:, [whole]], axis=0))
        with np.errstate(all="ignore"):
            shares = some[:, columns] / np.where(some[:, [whole]] > 0, some[:, [whole]], np.nan)
        most = np.fmax.reduce(shares, axis=0, initial=0.0)
        own = np.flatnonzero((most > 0) & (most <= 1 + ROUNDING) & (columns != whole))
        own = np.sort(own[np.argsort(-most[own])][:MOST_PARTS])
        for i, part in enumerate(own[:-1].tolist()):
            others = own[i + 1 :]
            count = _possible(shares[:, part], shares[:, others], mixed)
            clumps = np.minimum(varied.clumps[columns[others]], varied.clumps[columns[part]])
            chances = scale * count / np.minimum(clumps, varied.clumps[whole])
            for j in np.flatnonzero((count >= LEAST_SEARCHED) & (chances >= EXPECTED)).tolist():
                yield whole, int(columns[part]), int(columns[others[j]]), float(chances[j])


def _possible(part: Numbers, others: Numbers, mixed: NDArray[np.int64]) -> Numbers:
    """Return of how many of n records a share, (n,), and each of k others, (n, k), would be more
    than the whole if these were of another record, (k,); 0 of those that ever are.
    """
    ever = np.fmax.reduce(part[:, None] + others, axis=0, initial=0.0) > 1 + ROUNDING
    return np.where(ever, 0.0, np.count_nonzero(part[:, None] + others[mixed] > 1, axis=0))


def _mixed(n: int) -> NDArray[np.int64]:
    """Return n places in a random order, tenth by tenth, the same one each time."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(own) for own in np.array_split(np.arange(n), TENTHS)])
