"""values as JSON carries them <-> moments, by the time of a schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.time.form import NO_TIME, ZONED, Form, spell
from vaewatch.scoring.time.local import to_local, to_utc
from vaewatch.scoring.time.texts import moment_of_text
from vaewatch.scoring.time.time import Time
from vaewatch.scoring.time.zone import UTC_NAMES, warn_of_offsets


def moments_of(time: Time, values: Sequence[Any]) -> NDArray[np.int64]:
    """Return the moments of N values, (N,) microseconds since 1970; NO_TIME of a null.

    Raises:
        UnreadableTime: one is no time of the schema's form.
    """
    found = [time.parse(value) for value in values]
    moments = np.array([moment for moment, _ in found], np.int64)
    if time.assumed and any(form is Form.OFFSET and m != NO_TIME for m, form in found):
        warn_of_offsets(time.column)
    if time.zone not in UTC_NAMES:
        local = np.array([form in ZONED for _, form in found], bool)
        if local.any():
            moments[local] = to_utc(moments[local], time.zone)
    return moments


def spelled(time: Time, moment: int) -> str | int | float | None:
    """Write a moment as a record carries it; None where there is none."""
    if moment == NO_TIME:
        return None
    if time.form in ZONED:
        moment = int(to_local(np.array([moment], np.int64), time.zone)[0])
    return spell(moment, time.form)


def example_of(time: Time) -> Mapping[str, str | int | float | None]:
    """Return a time as a record carries it, under its name: the last one of the fit data."""
    found = moment_of_text(time.last)
    return {time.column: spelled(time, NO_TIME if found is None else found[0])}
