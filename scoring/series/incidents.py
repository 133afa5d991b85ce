"""alarms of entities in time -> incidents: alarms of one entity no further apart than a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.window import Window

DAY = 86_400 * 10**6  # microseconds


def incident_starts(
    entities: Sequence[str] | None, moments: NDArray[np.int64], window: Window
) -> NDArray[np.bool_]:
    """(N,) entities and moments of alarms -> (N,) whether each begins an incident."""
    names = np.zeros(len(moments), np.int64)
    if entities is not None:
        names = np.unique(np.asarray(entities, dtype=object).astype(str), return_inverse=True)[1]
    order = np.lexsort([moments, names])
    apart = np.diff(moments[order]) > window.size * window.step
    apart |= np.diff(names[order]) != 0
    starts = np.zeros(len(moments), bool)
    starts[order] = np.concatenate([[True], apart]) if len(order) else []
    return starts


def entity_days(records: int, window: Window) -> float:
    """Return the days of one entity that so many judged records are worth at their usual step."""
    return records * window.step / DAY


def per_day(incidents: int, records: int, window: Window) -> float:
    """Return incidents per entity and day, among so many judged records."""
    return incidents / max(entity_days(records, window), 1e-12)
