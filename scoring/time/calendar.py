"""moments -> the calendar's circular numbers: the hour of the day, the day of the week, of the
month.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.time.form import DAY, NO_TIME, SECOND
from vaewatch.scoring.time.local import to_local
from vaewatch.scoring.time.parts import Part

Floats = NDArray[np.float64]

HOUR = 3600 * SECOND
FIRST_WEEKDAY = 3  # 1970 began on a Thursday


def calendar_of(moments: NDArray[np.int64], zone: str, part: Part) -> Floats:
    """Return one number for each of N moments, in the wall-clock time of the zone; NaN where there
    is no time.

    The hour is from 0 to 24, 3.17 at ten past three. Monday is 0, and the first of a month is 1.
    """
    missing = moments == NO_TIME
    local = to_local(np.where(missing, 0, moments), zone)
    if part is Part.HOUR:
        numbers = (local % DAY) / HOUR
    elif part is Part.WEEKDAY:
        numbers = ((local // DAY + FIRST_WEEKDAY) % 7).astype(np.float64)
    else:
        days = (local // DAY).astype("datetime64[D]")
        first = days.astype("datetime64[M]").astype("datetime64[D]")
        numbers = (days - first).astype(np.float64) + 1
    return np.where(missing, np.nan, numbers)


def angle(numbers: Floats, period: float | Floats) -> Floats:
    """Return where numbers lie on their circle, in radians."""
    return np.asarray(numbers * (2 * math.pi / period))


def on_circle(cosine: Floats, sine: Floats, period: float | Floats) -> Floats:
    """Return the numbers of directions, from 0 to the period: the circular mean of what was
    averaged to these cosines and sines.
    """
    turns = np.arctan2(sine, cosine) / (2 * math.pi) % 1.0
    return np.asarray(turns * period)


def shortest_arc(numbers: Floats, period: float, share: float) -> tuple[float, float]:
    """Return the shortest arc that holds this share of (N,) numbers, from its start to its end;
    the end is the smaller one where the arc passes the turn.
    """
    ordered = np.sort(numbers)
    n, held = len(ordered), math.ceil(share * len(ordered))
    twice = np.concatenate([ordered, ordered + period])
    lengths = twice[held - 1 : held - 1 + n] - ordered
    at = int(lengths.argmin())
    return float(ordered[at]), float(twice[at + held - 1] % period)
