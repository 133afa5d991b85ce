"""times of fit records -> hours and weekdays that none of them has, and that are unseen later.

What comes at one time comes together: 40 weeks of orders are 40 chances for a Sunday, not as many
as there are orders. Of a share p of the weeks that have one, W weeks have none with a chance of
(1 - p)^W, and the next one has with p: p (1 - p)^W < 1 / (e W) at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.absent import COUNTED, AbsentOf, spans_of
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import DAY, NO_TIME
from vaewatch.scoring.time.parts import PERIODS, Part

LEAST_DATES, LEAST_WEEKS = 60, 12  # that tell of the hours of a day, and of the days of a week
MONDAY = 3  # the weekday of 1970-01-01, a Thursday, so that weeks begin on Mondays
REACH = {Part.HOUR: 1, Part.WEEKDAY: 0}  # an hour next to one with records is not absent


def absent_of(table: Table) -> AbsentOf:
    """Return the absent hours and weekdays of a table's circular columns."""
    found = {}
    for name, part, spans in _spans(table):
        none = tuple(np.flatnonzero(_near(spans, part) == 0).tolist())
        if none and _tells(table, part, np.ones(len(table), bool)):
            found[name] = none
    return found


def alone_in_time(table: Table) -> NDArray[np.int64]:
    """Return how many parts of the time of each of N fit records would be absent if it had been
    left out, (N,).
    """
    found = np.zeros(len(table), np.int64)
    for _, part, spans in _spans(table):
        alone = _near(spans, part) == 1
        for row in np.flatnonzero((spans >= 0) & alone[spans]):
            others = np.arange(len(table)) != row
            found[row] += _tells(table, part, others)
    return found


def _spans(table: Table) -> list[tuple[str, Part, NDArray[np.int64]]]:
    """Return each circular column of hours or weekdays, and that of each record, (N,); -1 where
    it is missing.
    """
    out = []
    for column in table.schema.circular:
        if column.part in COUNTED:
            numbers = table.numbers[:, table.schema.place[column.name]]
            given = ~np.isnan(numbers)
            spans = spans_of(np.where(given, numbers, 0.0), column.part)
            out.append((column.name, column.part, np.where(given, spans, -1)))
    return out


def _near(spans: NDArray[np.int64], part: Part) -> NDArray[np.int64]:
    """Return how many of the records have each hour or weekday, or one so near that it counts."""
    counts = np.bincount(spans[spans >= 0], minlength=int(PERIODS[part]))
    reach = range(-REACH[part], REACH[part] + 1)
    return np.asarray(sum(np.roll(counts, by) for by in reach))


def _tells(table: Table, part: Part, rows: NDArray[np.bool_]) -> bool:
    """Return whether some records are of enough days, or weeks, to tell what is absent."""
    if table.times is None:
        return False
    days = table.times[rows & (table.times != NO_TIME)] // DAY
    if part is Part.HOUR:
        return len(np.unique(days)) >= LEAST_DATES
    return len(np.unique((days + MONDAY) // 7)) >= LEAST_WEEKS
