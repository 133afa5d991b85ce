"""counts by time -> when the alerts on the alarm budget would have been firing.

The numbers are those of deploy/prometheus/rules.yml; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SEVERE = 2.5  # a severity: one normal record in 316 is above it

Steps = NDArray[np.float64]  # (..., T) a count for each step of time
Summed = Callable[[Steps, int], Steps]


@dataclass(frozen=True)
class Traffic:
    """Counts for each step of time. allowed: the most alarms that the calibration allows for.
    severe: records of a severity above SEVERE. alike: how many neighbouring records are worth one
    independent record.
    """

    records: Steps
    alarms: Steps
    allowed: Steps
    severe: Steps
    alike: float = 1.0


@dataclass(frozen=True)
class Limit:
    """Passed if a window has more of `what` than `factor` times its `of`, plus `more` for each
    record that is worth one.
    """

    minutes: int
    what: Literal["alarms", "severe"]
    more: int
    factor: float = 0
    of: Literal["allowed", "records"] = "allowed"

    def passed(self, traffic: Traffic, summed: Summed) -> NDArray[np.bool_]:
        seen, most = (
            summed(getattr(traffic, name), self.minutes) for name in (self.what, self.of)
        )
        return np.asarray(seen > self.factor * most + self.more * traffic.alike)


@dataclass(frozen=True)
class Alert:
    """An alert, which fires while all limits of one of its ways are passed. `severity`: a page
    wakes somebody, a ticket does not.
    """

    name: str
    severity: str
    ways: tuple[tuple[Limit, ...], ...]

    def on(self, traffic: Traffic, summed: Summed) -> NDArray[np.bool_]:
        """Whether the alert fires at each moment. `summed` adds counts up over a window of so many
        minutes before each moment.
        """
        ways = [[limit.passed(traffic, summed) for limit in way] for way in self.ways]
        return np.asarray(np.any([np.all(way, axis=0) for way in ways], axis=0))

    @property
    def windows(self) -> set[int]:
        return {limit.minutes for way in self.ways for limit in way}


FAST = Alert(
    "VaewatchTooManyAlarmsFast",
    "page",
    (
        (Limit(1, "alarms", 30, 3),),
        (Limit(5, "alarms", 30, 3),),
        (Limit(1, "alarms", 14), Limit(1, "severe", 2, 0.15, "records")),
    ),
)
SLOW = Alert(
    "VaewatchTooManyAlarmsSlow",
    "ticket",
    ((Limit(360, "alarms", 20, 1.5), Limit(30, "alarms", 0, 1.5)),),
)
ALERTS = (FAST, SLOW)


@dataclass(frozen=True)
class Burst:
    """A span of an alert, from the minute in which it fired to the minute in which it resolved."""

    start: int
    end: int


def bursts(alert: Alert, minutes: NDArray[np.int64], traffic: Traffic) -> list[Burst]:
    """When an alert was firing. `minutes`, (T,), are those that have records, in order of time,
    and `traffic` has their counts.

    Only a minute that enters or leaves a window can change anything, so a gap of years costs
    nothing.
    """
    moments = np.unique(np.concatenate([minutes, *(minutes + m for m in alert.windows)]))
    last = np.searchsorted(minutes, moments, side="right")

    def summed(counts: Steps, window: int) -> Steps:
        first = np.searchsorted(minutes, moments - window, side="right")
        total = np.concatenate([[0.0], np.cumsum(counts)])
        return np.asarray(total[last] - total[first])

    on = alert.on(traffic, summed)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return [Burst(int(moments[a]), int(moments[b])) for a, b in edges.reshape(-1, 2).tolist()]
