"""moments <-> wall-clock times of a zone, daylight saving included.

An offset is looked up once for each day that occurs and, of a day in which it changes, for each
quarter of an hour, since it changes at a full one. The rest is arithmetic on whole columns.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.time.form import DAY, EPOCH, FIRST, LAST, SECOND
from vaewatch.scoring.time.zone import UTC_NAMES, zone_named

QUARTER = 900 * SECOND

Moments = NDArray[np.int64]


def to_local(moments: Moments, zone: str) -> Moments:
    """Return the (N,) wall-clock times of moments in UTC, in microseconds."""
    if zone in UTC_NAMES:
        return moments
    where = zone_named(zone)
    return moments + _offsets(moments, lambda at: at.astimezone(where))


def to_utc(local: Moments, zone: str) -> Moments:
    """Return the (N,) moments of wall-clock times.

    Of a time that comes twice, as clocks are set back, it is the first; one that a clock skips is
    as late after the change as it says.
    """
    if zone in UTC_NAMES:
        return local
    where = zone_named(zone)
    return local - _offsets(local, lambda at: at.replace(tzinfo=where))


def _offsets(moments: Moments, placed: Callable[[datetime], datetime]) -> Moments:
    """Return the (N,) offsets from UTC, in microseconds, as `placed` puts a moment in its zone."""
    inside = np.clip(moments, FIRST + DAY, LAST - DAY)  # no zone leads beyond a datetime's years
    days, place = np.unique(inside // DAY, return_inverse=True)
    first, last = (_at((days + i) * DAY, placed) for i in (0, 1))
    offsets = first[place.reshape(-1)]
    changing = np.flatnonzero((first != last)[place.reshape(-1)])
    if len(changing):
        quarters, own = np.unique(inside[changing] // QUARTER, return_inverse=True)
        offsets[changing] = _at(quarters * QUARTER, placed)[own.reshape(-1)]
    return offsets


def _at(moments: Moments, placed: Callable[[datetime], datetime]) -> Moments:
    found = [
        placed(EPOCH + timedelta(seconds=moment // SECOND)).utcoffset() or timedelta()
        for moment in moments.tolist()
    ]
    return np.array([round(offset.total_seconds()) * SECOND for offset in found], np.int64)
