"""a column of times -> minutes since 1970, whatever form each cell has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.time.form import IN_A_SECOND, KNOWN, NO_TIME, SECOND, Form
from vaewatch.scoring.time.frames import read_moments
from vaewatch.scoring.time.time import Time
from vaewatch.scoring.time.written import FORMS

MINUTE = 60 * SECOND
FIRST, LAST = -36_816_480, 120_968_640  # minutes: 1900 and 2200; beyond are 9999-12-31 and slips


@dataclass(frozen=True)
class Times:
    """minutes: (N,) since 1970, null where there is no time. unit: of the numbers, the finest that
    is needed; '' for text and timestamps. moments: (N,) microseconds, where there is a time.
    """

    minutes: pl.Series
    unit: str
    moments: NDArray[np.int64]


def read_times(times: pl.Series, time: Time | None = None) -> Times:
    """Read texts, numbers, or timestamps, with the zone and the order of dates that the time of an
    artifact has.
    """
    zone, order = ("UTC", None) if time is None else (time.zone, time.order)
    found = read_moments(times, order)
    if found is None:
        raise SchemaError(f"--time column '{times.name}' must hold {KNOWN}, got {times.dtype}.")
    moments = found.in_utc(zone)
    minutes = pl.Series(times.name, moments // MINUTE)
    known = minutes.is_between(FIRST, LAST) & pl.Series(moments != NO_TIME)
    units = [FORMS[i] for i in np.unique(found.forms) if i >= 0 and FORMS[i] in IN_A_SECOND]
    unit: Form | str = max(units, key=IN_A_SECOND.__getitem__, default="")
    return Times(minutes.set(~known, None), str(unit), moments)


def require_times(time: str, timed: int, untimed: int, rejected: int) -> None:
    """Refuse a file most of whose records have no time, which would look like an all-clear."""
    if not timed + untimed + rejected:
        raise SchemaError("the input must have records, got none.")
    if not timed and rejected > untimed:
        raise SchemaError(
            f"records must be as the artifact takes them, but {rejected:,} of them were rejected: "
            "vaewatch score with --rejects FILE says why."
        )
    if untimed >= timed:
        raise SchemaError(
            f"--time column '{time}' must hold {KNOWN}, got {untimed:,} records without "
            f"such a time, {timed:,} with one, and {rejected:,} that were rejected."
        )
