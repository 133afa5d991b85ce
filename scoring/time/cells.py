"""The time column of a frame -> moments and the calendar, with every broken rule named."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.table import set_calendar
from vaewatch.scoring.time.frames import check_moments
from vaewatch.scoring.time.time import LOST


def read_calendar(
    schema: Schema,
    frame: pl.DataFrame,
    numbers: NDArray[np.float64],
    problems: list[Problem],
) -> NDArray[np.int64] | None:
    """Return the (N,) moments of a frame, and fill in the circular columns of (N, numeric
    columns). A cell that breaks the time's rule is missing, and named in the problems.
    """
    time = schema.time
    if time is None:
        return None
    found = check_moments(time, frame[time.column])
    for rows, code, rule in (
        (found.bad, "time", f"{time.rule}, got another value"),
        (found.lost, "missing", LOST),
    ):
        message = f"column '{time.column}' {rule}"
        problems.extend(
            Problem(row, time.column, code, message) for row in np.flatnonzero(rows).tolist()
        )
    set_calendar(schema, found.moments, numbers)
    return found.moments
