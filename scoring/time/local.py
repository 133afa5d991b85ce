"""moments <-> wall-clock times of a zone, daylight saving included.

An offset changes at a full quarter of an hour only. So each quarter that occurs is looked up once,
and the rest is arithmetic on whole columns.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

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
    inside = np.clip(moments, FIRST + DAY, LAST - DAY)  # no zone leads beyond a datetime's years
    quarters, place = np.unique(inside // QUARTER, return_inverse=True)
    start = EPOCH.astimezone(UTC)
    offsets = [
        placed(start + timedelta(seconds=900 * quarter)).utcoffset() or timedelta()
        for quarter in quarters.tolist()
    ]
    seconds = [round(offset.total_seconds() * SECOND) for offset in offsets]
    return np.array(seconds, np.int64)[place.reshape(-1)]
