"""alarms of entities in time -> incidents: alarms of one entity no further apart than a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.entity import numbered
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.form import DAY


def incident_starts(
    entities: Sequence[str] | None, moments: NDArray[np.int64], window: Window
) -> NDArray[np.bool_]:
    """(N,) entities and moments of alarms -> (N,) whether each begins an incident."""
    order, first = _in_order(entities, moments, window)
    starts = np.zeros(len(moments), bool)
    starts[order] = first
    return starts


def incident_peaks(
    entities: Sequence[str] | None,
    moments: NDArray[np.int64],
    scores: NDArray[np.float64],
    window: Window,
) -> NDArray[np.float64]:
    """(N,) entities, moments and scores of alarms -> (K,) the highest score of each incident,
    ascending.
    """
    order, first = _in_order(entities, moments, window)
    if not len(order):
        return np.empty(0)
    return np.sort(np.maximum.reduceat(scores[order], np.flatnonzero(first)))


def _in_order(
    entities: Sequence[str] | None, moments: NDArray[np.int64], window: Window
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the order of the alarms, entity by entity, and which of them, in this order, begin
    an incident.
    """
    names = np.zeros(len(moments), np.int64)
    if entities is not None:
        names = numbered(entities)
    order = np.lexsort([moments, names])
    apart = np.diff(moments[order]) > window.size * window.step
    apart |= np.diff(names[order]) != 0
    return order, np.concatenate([np.ones(min(len(order), 1), bool), apart])


def entity_days(records: int, window: Window) -> float:
    """Return the days of one entity that so many judged records are worth at their usual step."""
    return records * window.step / DAY


def per_day(incidents: int, records: int, window: Window) -> float:
    """Return incidents per entity and day, among so many judged records."""
    return incidents / max(entity_days(records, window), 1e-12)
