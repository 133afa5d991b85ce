"""the rows of a table -> their order in time, by entity or all together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.entity import in_order
from vaewatch.scoring.table import Table

TENTHS = 10  # parts of the records, by time, that are looked at one by one


def in_series(table: Table) -> NDArray[np.int64]:
    """Return the rows of a table in order of entity and time where there is one, (N,): what an
    entity has all the time comes once, however many records of others are between.
    """
    if table.times is None:
        return np.arange(len(table))
    return in_order(table.entities, table.times)


def by_time(table: Table) -> NDArray[np.int64]:
    """Return the rows of a table in order of time, or of the file where there is none, (N,)."""
    if table.times is None:
        return np.arange(len(table))
    return np.argsort(table.times, kind="stable")


def series_by_time(table: Table) -> NDArray[np.int64]:
    """Return where the rows of a table `in_series` are among those `by_time`, (N,)."""
    return np.argsort(by_time(table))[in_series(table)]


def spread(n: int, most: int) -> NDArray[np.int64]:
    """Return at most so many of n places, from the first to the last."""
    return np.linspace(0, n - 1, min(n, most)).astype(np.int64)


def starts(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where what lasts for some of (n,) records in a row begins."""
    return np.flatnonzero(flags & ~np.append(False, flags[:-1]))
