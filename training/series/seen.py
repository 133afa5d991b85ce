"""fit records -> Seen: their entities and moments, by which recalibration knows them again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.training.records.seen import Seen, hashed, mixed


def seen_of(table: Table) -> Seen:
    """Return what is kept of the records of a fit."""
    return Seen.of_hashes(_hashes(table))


def find_again(seen: Seen, table: Table) -> NDArray[np.bool_]:
    """Return which of N records are of an entity and a moment of the fit, (N,)."""
    return np.isin(_hashes(table), seen.values)


def _hashes(table: Table) -> NDArray[np.uint32]:
    if table.times is None:
        raise AssertionError("a window takes a time")
    total = mixed(table.times.view(np.uint64))
    if table.entities is not None:
        names, place = np.unique(np.asarray(table.entities, object), return_inverse=True)
        total = mixed(
            total ^ np.array([hashed(name) for name in names.tolist()], np.uint64)[place]
        )
    return (total >> np.uint64(32)).astype(np.uint32)
