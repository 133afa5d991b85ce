"""counts by time -> when the alerts on the alarm budget would have been on.

The same numbers as in deploy/prometheus/rules.yml; a test holds them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Limit:
    """More alarms in a window than `factor` times what calibration allows, and `more`."""

    minutes: int
    factor: float
    more: int

    def passed(
        self, alarms: NDArray[np.float64], allowed: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        return np.asarray(alarms > self.factor * allowed + self.more)


@dataclass(frozen=True)
class Alert:
    """On while all of its limits are passed, or any of them. `severity`: a page wakes somebody."""

    name: str
    severity: str
    limits: tuple[Limit, ...]
    any: bool = False

    def on(self, passed: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Whether it is on, given for each limit whether it is passed."""
        return np.asarray((np.any if self.any else np.all)(passed, axis=0))


FAST = Alert("VaewatchTooManyAlarmsFast", "page", (Limit(1, 3, 20), Limit(5, 3, 20)), any=True)
SLOW = Alert("VaewatchTooManyAlarmsSlow", "ticket", (Limit(360, 1.5, 20), Limit(30, 1.5, 0)))
ALERTS = (FAST, SLOW)


@dataclass(frozen=True)
class Burst:
    """An alert from the minute in which it came on until it was off. `end`: that minute."""

    start: int
    end: int


def bursts(
    alert: Alert,
    minutes: NDArray[np.int64],
    alarms: NDArray[np.float64],
    allowed: NDArray[np.float64],
) -> list[Burst]:
    """Counts of the minutes that have records, in order of time -> when the alert was on.

    Only a minute that enters a window or leaves it can change anything, so a gap of years costs
    nothing.
    """
    moments = np.unique(
        np.concatenate([minutes, *(minutes + limit.minutes for limit in alert.limits)])
    )
    passed = []
    for limit in alert.limits:
        last = np.searchsorted(minutes, moments, side="right")
        first = np.searchsorted(minutes, moments - limit.minutes, side="right")
        seen, most = (_until(counts, last) - _until(counts, first) for counts in (alarms, allowed))
        passed.append(limit.passed(seen, most))
    on = alert.on(passed)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]]).astype(np.int8)))
    return [Burst(int(moments[a]), int(moments[b])) for a, b in edges.reshape(-1, 2).tolist()]


def _until(counts: NDArray[np.float64], ends: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.concatenate([[0.0], np.cumsum(counts)])[ends])


def when_on(
    alert: Alert, alarms: NDArray[np.float64], allowed: NDArray[np.float64], a_minute: int = 1
) -> NDArray[np.bool_]:
    """(..., T) counts in each step of time -> (..., T), after each step. `a_minute`: steps in
    one.
    """
    passed = []
    for limit in alert.limits:
        seen, most = (
            sliding_sum(counts, limit.minutes * a_minute) for counts in (alarms, allowed)
        )
        passed.append(limit.passed(seen, most))
    return alert.on(passed)


def sliding_sum(counts: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """(..., T): the sum of each step and those before it, `steps` in all."""
    total = np.cumsum(counts, axis=-1)
    total[..., steps:] = total[..., steps:] - total[..., :-steps].copy()
    return total
