"""What a replay of files has counted, and the alerts that it would have raised."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.incidents.counts import IncidentCounts
from vaewatch.batch.replay.alerts import ALERTS, Alert, Burst, Traffic, bursts
from vaewatch.batch.replay.segments import SegmentReplay, replays_of
from vaewatch.batch.replay.series import IncidentsReplay, SeriesReplay
from vaewatch.batch.replay.timeline import DAY, HOUR, Timeline, moment
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.time.blocks import Outlook, outlook
from vaewatch.scoring.time.counted import BySlot, Counted
from vaewatch.scoring.time.form import SECOND


@dataclass(frozen=True)
class Longest:
    """The longest time that an alert was firing without a break."""

    start: datetime
    minutes: int
    alarms: int


@dataclass(frozen=True)
class AlertReplay:
    """How often and how long one alert of the deploy folder would have fired."""

    name: str
    severity: str
    times: int
    minutes_on: int
    longest: Longest | None


@dataclass(frozen=True)
class AlphaReplay:
    """The alarms and alerts that one alpha would have raised."""

    alpha: float
    alarms: int
    expected: Expected
    rate: float
    hourly_mean: float
    hourly_most: int
    daily_mean: float
    daily_most: int
    alerts: tuple[AlertReplay, ...]
    incidents: IncidentsReplay | None = None


@dataclass(frozen=True)
class Replay:
    """The alarms that files would have raised. Records that have no time or break the schema are
    only counted.
    """

    minutes: Timeline
    alphas: tuple[float, ...]
    laws: tuple[RateLaw, ...]  # for each alpha, that of its false-alarm rate
    untimed: int
    rejected: int
    units: frozenset[str] = frozenset()  # of the times that are numbers
    changed: AlertReplay | None = None  # None: the records were not in order of time
    # (codes, 1 + alphas) records and alarms of each segment; (0, 0) without segments
    segments: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    labels: tuple[str | None, ...] = ()  # of the segments, by code
    judge: Segments | None = None  # known once all chunks are counted
    slots: BySlot | None = None  # by minute, those that judge at the first alpha
    series: SeriesReplay | None = None  # where records are judged with those before them
    incidents: IncidentCounts | None = None  # at the first alpha, where they are asked for

    @cached_property
    def allowed(self) -> tuple[float, ...]:
        """For each alpha, the upper limit of its false-alarm rate."""
        if self.series is not None:
            return tuple(map(self.series.allowed, self.alphas))
        return tuple(law.interval()[1] for law in self.laws)

    @cached_property
    def outlook(self) -> Outlook | None:
        """The alarms at the first alpha in blocks of time; None without records. Windows overlap,
        so that a law of single records says nothing of a block of them.
        """
        if self.series is not None:
            return None
        minutes, slots = self.minutes, self.slots
        at, alarms = minutes.starts * 60 * SECOND, minutes.alarms[:, 0]
        if self.judge is None or slots is None:
            return outlook(Counted(at, minutes.records, alarms), self.laws[:1])
        judged = replace(slots, times=slots.times * 60 * SECOND)
        counted = Counted(at, minutes.records, alarms, judged)
        return outlook(counted, self.judge.laws(self.alphas[0]))

    @cached_property
    def hours(self) -> Timeline:
        return self.minutes.by(HOUR)

    def at(self, which: int) -> AlphaReplay:
        """The alpha with this index, and the alerts that watch it."""
        alarms = self.hours.alarms[:, which]
        daily, alpha = self.minutes.by(DAY).alarms[:, which], self.alphas[which]
        records = int(self.hours.records.sum())
        return AlphaReplay(
            alpha=alpha,
            alarms=int(alarms.sum()),
            expected=self._expected(which, records),
            rate=float(alarms.sum() / max(records, 1)),
            hourly_mean=float(alarms.mean()) if len(alarms) else 0.0,
            hourly_most=int(alarms.max(initial=0)),
            daily_mean=float(daily.mean()) if len(daily) else 0.0,
            daily_most=int(daily.max(initial=0)),
            alerts=tuple(self._alert(alert, which) for alert in ALERTS),
            incidents=None
            if self.series is None
            else self.series.incidents(which, alpha, len(daily)),
        )

    def _expected(self, which: int, records: int) -> Expected:
        if self.series is not None:
            return self.series.expected(records, self.alphas[which])
        if self.judge is None:
            return Expected.of(self.laws[which], records)
        return self.judge.expected(self.segments[:, 0], self.alphas[which])

    def _alert(self, alert: Alert, which: int) -> AlertReplay:
        found = bursts(alert, self.minutes.starts, self._traffic(which))
        return self.firings(alert.name, alert.severity, found, which)

    def firings(self, name: str, severity: str, found: list[Burst], which: int) -> AlertReplay:
        """Sum up the bursts of an alert, with the alarms of one alpha."""
        starts, alarms = self.minutes.starts, self.minutes.alarms[:, which]
        most = max(found, key=lambda burst: burst.end - burst.start, default=None)
        longest = None
        if most is not None:
            seen = int(alarms[(starts >= most.start) & (starts < most.end)].sum())
            longest = Longest(moment(most.start), most.end - most.start, seen)
        on = sum(burst.end - burst.start for burst in found)
        return AlertReplay(name, severity, len(found), on, longest)

    def _traffic(self, which: int) -> Traffic:
        records, severe, alarms = (
            counts.astype(np.float64)
            for counts in (
                self.minutes.records,
                self.minutes.severe,
                self.minutes.alarms[:, which],
            )
        )
        alike = 1.0 if self.series is None else self.series.alike
        return Traffic(records, alarms, self.allowed[which] * records, severe, alike)

    def by_segment(self) -> list[SegmentReplay]:
        """The records and alarms of each segment that has records, that with most first."""
        return replays_of(self.labels, self.segments)

    def to_json(self) -> dict[str, Any]:
        hours = self.hours
        named: dict[str, Any] = {}
        if self.labels:
            named["segments"] = [asdict(each) for each in self.by_segment()]
        if self.series is not None:
            named["series"] = self.series.to_json()
        if self.incidents is not None:
            named["incidents"] = self.incidents.to_json()
        return {
            **named,
            "records": int(hours.records.sum()),
            "untimed": self.untimed,
            "rejected": self.rejected,
            "time_units": sorted(self.units),
            "traffic_changed": None if self.changed is None else _alert_json(asdict(self.changed)),
            "outlook": msgspec.to_builtins(self.outlook),
            "alphas": [_as_json(self.at(i)) for i in range(len(self.alphas))],
            "hours": [
                {"start": moment(s).isoformat(), "records": int(n), "alarms": a.tolist()}
                for s, n, a in zip(hours.starts, hours.records, hours.alarms, strict=True)
            ],
        }


def _as_json(found: AlphaReplay) -> dict[str, Any]:
    shown = asdict(found)
    if found.incidents is None:
        del shown["incidents"]
    return {**shown, "alerts": [_alert_json(alert) for alert in shown["alerts"]]}


def _alert_json(alert: dict[str, Any]) -> dict[str, Any]:
    if alert["longest"] is not None:
        alert["longest"]["start"] = alert["longest"]["start"].isoformat()
    return alert
