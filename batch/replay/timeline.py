"""Counts by time that add up, whatever part of a file they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOUR, DAY = 60, 1440  # minutes


@dataclass(frozen=True)
class Timeline:
    """Counts by minute, hour or day, in order of time; those without records are left out.

    starts: (T,) minutes since 1970. records, severe: (T,). alarms: (T, A), a column for each
    alpha.
    """

    starts: NDArray[np.int64]
    records: NDArray[np.int64]
    severe: NDArray[np.int64]
    alarms: NDArray[np.int64]

    def __add__(self, other: Timeline) -> Timeline:
        starts, place = np.unique(np.concatenate([self.starts, other.starts]), return_inverse=True)

        def both(mine: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
            total = np.zeros((len(starts), *mine.shape[1:]), np.int64)
            np.add.at(total, place, np.concatenate([mine, others]))
            return total

        return Timeline(
            starts,
            both(self.records, other.records),
            both(self.severe, other.severe),
            both(self.alarms, other.alarms),
        )

    def by(self, minutes: int) -> Timeline:
        """The same counts by longer spans of so many minutes; `starts` stay in minutes."""
        whole = replace(self, starts=self.starts // minutes * minutes)
        return whole + Timeline.none(self.alarms.shape[1])

    @classmethod
    def none(cls, alphas: int) -> Timeline:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, np.zeros((0, alphas), np.int64))


def moment(minute: int | np.integer[Any]) -> datetime:
    """The start of a minute, in UTC."""
    return datetime.fromtimestamp(int(minute) * 60, UTC)
