"""times of fit records -> hours and weekdays that none of them has, and that are unseen later.

What comes at one time comes together: 40 weeks of orders are 40 chances for a Sunday, not as many
as there are orders. Of a share p of the weeks that have one, W weeks have none with a chance of
(1 - p)^W, and the next one has with p: p (1 - p)^W < 1 / (e W) at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.absent import COUNTED, AbsentOf, spans_of
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import DAY, NO_TIME
from vaewatch.scoring.time.parts import PERIODS, Part

LEAST_DATES, LEAST_WEEKS = 60, 12  # that tell of the hours of a day, and of the days of a week
MONDAY = 3  # the weekday of 1970-01-01, a Thursday, so that weeks begin on Mondays
REACH = {Part.HOUR: 1, Part.WEEKDAY: 0}  # an hour next to one with records is not absent

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Calendar:
    """The days of N records.

    Attributes:
        days: (N,) since 1970-01-01. dated: (N,) whether a record has a time.
    """

    days: Ints
    dated: Bools

    @classmethod
    def of(cls, table: Table) -> Calendar:
        times = np.full(len(table), NO_TIME) if table.times is None else table.times
        return cls(times // DAY, times != NO_TIME)

    def take(self, rows: Ints | Bools) -> Calendar:
        return Calendar(self.days[rows], self.dated[rows])

    def tells(self, part: Part) -> bool:
        """Return whether the records are of enough days, or weeks, to tell what is absent."""
        return len(np.unique(self._units(part)[self.dated])) >= _least(part)

    def often(self, part: Part, left: Ints, right: Ints) -> Bools:
        """Return which two events came in so many of the same days, or weeks, that it tells
        something if they never came together, (left events, right events).

        Args:
            left, right: (N,) an event of each record.
        """
        units = np.unique(self._units(part), return_inverse=True)[1]
        came = []
        for events in (left, right):
            own = np.zeros((units.max(initial=0) + 1, events.max(initial=0) + 1))
            own[units[self.dated], events[self.dated]] = 1
            came.append(own)
        return np.asarray(came[0].T @ came[1] >= _least(part))

    def _units(self, part: Part) -> Ints:
        return self.days if part is Part.HOUR else (self.days + MONDAY) // 7


def absent_of(table: Table) -> AbsentOf:
    """Return the absent hours and weekdays of a table's circular columns."""
    found = {}
    calendar = Calendar.of(table)
    for name, part, spans in _spans(table):
        none = tuple(np.flatnonzero(near(_counts(spans, part), part) == 0).tolist())
        if none and calendar.tells(part):
            found[name] = none
    return found


def alone_in_time(table: Table) -> Ints:
    """Return how many parts of the time of each of N fit records would be absent if it had been
    left out, (N,).
    """
    found = np.zeros(len(table), np.int64)
    calendar = Calendar.of(table)
    for _, part, spans in _spans(table):
        alone = near(_counts(spans, part), part) == 1
        for row in np.flatnonzero((spans >= 0) & alone[spans]):
            others = np.arange(len(table)) != row
            found[row] += calendar.take(others).tells(part)
    return found


def near(counts: Ints, part: Part) -> Ints:
    """Return how many records have each hour or weekday, (..., spans), or one so near that it
    counts; `counts` are those that have the very one.
    """
    reach = range(-REACH[part], REACH[part] + 1)
    return np.asarray(sum(np.roll(counts, by, axis=-1) for by in reach))


def _spans(table: Table) -> list[tuple[str, Part, Ints]]:
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


def _counts(spans: Ints, part: Part) -> Ints:
    return np.bincount(spans[spans >= 0], minlength=int(PERIODS[part]))


def _least(part: Part) -> int:
    return LEAST_DATES if part is Part.HOUR else LEAST_WEEKS
