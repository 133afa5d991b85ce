"""categories of a table -> how many records have each that shares an indicator.

A value that is none of a column's names is unseen, where all fit records had one of these. As with
levels, records in a row do not tell of the next ones: a storm has a name of its own and a hundred
records, and the next storm another name. So it must be, too, that names recur over time: that the
later half of the records has no more new ones than come so by chance. Then what is new once more
counts as one of the rare values, of which there are none yet.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import PLACES, other_code
from vaewatch.scoring.table import Table
from vaewatch.training.unseen.order import by_time

SURE = 3.0  # standard deviations of what chance brings
FEW = 1  # new names are no pattern


def shared_of(table: Table) -> dict[str, tuple[int, ...]]:
    """Return how many records have each code that shares an indicator, see `Vectorizer`: at least
    one has the last, that of values without a name, where such may come.
    """
    found, rows = {}, by_time(table)
    for column, codes in zip(table.schema.discrete, table.codes.T, strict=True):
        other = other_code(column)
        if len(column.categories) > PLACES:
            counts = np.bincount(codes, minlength=other + 2)
            if come_anew(codes[rows], other):
                counts[other] = max(counts[other], 1)
            found[column.name] = tuple(counts[PLACES : other + 1].tolist())
    return found


def come_anew(codes: NDArray[np.int32], other: int) -> bool:
    """Return whether the later half of (N,) codes in order of time has names that the first one
    lacks, more than by chance: of c records of a name all are in one half with 0.5 to the power c.
    """
    early = np.bincount(codes[: len(codes) // 2], minlength=other + 2)[:other]
    counts = np.bincount(codes, minlength=other + 2)[:other]
    new = np.count_nonzero((counts > 0) & (early == 0))
    chance = float((0.5 ** counts[counts > 0]).sum())
    return bool(new > chance + SURE * math.sqrt(chance) + FEW)


def alone_by_name(table: Table) -> NDArray[np.int64]:
    """Return how many names, that share an indicator, of each of N fit records would be unseen if
    it had been left out, (N,): the only one of a column that came once, where no value lacks a
    name. An indicator of its own would tell that it is alone.
    """
    found = np.zeros(len(table), np.int64)
    shared = shared_of(table)
    for column, codes in zip(table.schema.discrete, table.codes.T, strict=True):
        counts = shared.get(column.name, (1,))
        if counts[-1] or sum(counts) < 2:
            continue
        single = np.flatnonzero(np.bincount(codes) == 1)
        if len(single) == 1 and single[0] >= PLACES:
            found += codes == single[0]
    return found
