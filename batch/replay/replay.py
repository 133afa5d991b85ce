"""records with a time -> alarms an hour and a day, at several alphas, and the alerts on them.

Only counts by minute are kept, so memory grows with the time that a file covers, not with its
rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.replay.alerts import ALERTS, SEVERE, Alert, Burst, Traffic, bursts
from vaewatch.batch.replay.changed import NAME, SEVERITY, TrafficWatch
from vaewatch.batch.replay.segments import SegmentReplay, decide, replays_of
from vaewatch.batch.replay.series import IncidentsReplay, SeriesReplay, SeriesWatch
from vaewatch.batch.replay.timeline import DAY, HOUR, Timeline, moment
from vaewatch.batch.replay.times import read_times, require_times, zone_of
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.incidents import Alarms, alarms_at
from vaewatch.batch.workers import Team, in_order
from vaewatch.scoring.budget.calibration import RateLaw, check_alpha
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.files.source import chunks_of, expand, open_source
from vaewatch.scoring.schema import require_columns
from vaewatch.scoring.scorer import Scorer
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
        return Traffic(records, alarms, self.allowed[which] * records, severe)

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


def replay(
    scorer: Scorer, sources: Sequence[str], time: str, alphas: Sequence[float], threads: int = 1
) -> Replay:
    """Score files and count their alarms by minute."""
    calibration = scorer.artifact.calibration
    for alpha in alphas:
        check_alpha(alpha, calibration.n)
    laws = tuple(map(calibration.rate_law, alphas))
    nothing = Replay(Timeline.none(len(alphas)), tuple(alphas), laws, 0, 0)
    if (segments := scorer.artifact.segments) is not None:
        none = np.zeros((len(segments.labels), 1 + len(alphas)), np.int64)
        nothing = replace(nothing, segments=none, labels=segments.labels)
    count = partial(_count, scorer, time, nothing)
    own = segments.own_scores if segments is not None else ()
    total, watch = nothing, TrafficWatch(calibration.scores, own)
    follow = SeriesWatch.of(scorer.artifact, time, alphas)
    chunks = _chunks(scorer, expand(sources), time)
    with Team(threads) as team:
        for one in in_order(follow.follow(chunks) if follow else chunks, count, team):
            if follow is not None:
                follow.take(one.alarms, one.series)
            else:
                watch.take(one.at, one.scores, one.slots)
            total = replace(
                total,
                minutes=total.minutes + one.counts.minutes,
                untimed=total.untimed + one.counts.untimed,
                rejected=total.rejected + one.counts.rejected,
                units=total.units | one.counts.units,
                segments=total.segments + one.counts.segments,
                slots=_both(total.slots, one.counts.slots),
            )
    timed = int(total.minutes.records.sum())
    if follow is not None:
        follow.require_windows(timed)
        return replace(total, series=follow.replay())
    require_times(time, timed, total.untimed, total.rejected)
    changed = total.firings(NAME, SEVERITY, watch.bursts(), 0) if watch.in_order else None
    return replace(total, judge=segments, changed=changed)


def _both(one: BySlot | None, other: BySlot | None) -> BySlot | None:
    return other if one is None else one if other is None else one + other


def _chunks(scorer: Scorer, files: Sequence[str], time: str) -> Iterator[FileChunk]:
    for at, name in enumerate(files):
        with open_source(name, scorer.artifact.schema, reserved=()) as source:
            require_columns(list(source.columns), [time], "--time")
            lean = source.lean()
            yield from (FileChunk(at, lean, chunk) for chunk in chunks_of(source, None))


@dataclass(frozen=True)
class _Counted:
    """The counts of a chunk, and (N,) minutes and scores of its records with a time, in order;
    with a segment also the slots of their calibrations. With a window, the alarms at each alpha,
    and how the records stand to those before them.
    """

    counts: Replay
    at: NDArray[np.int64]
    scores: NDArray[np.float64]
    slots: NDArray[np.int64] | None = None
    alarms: tuple[Alarms, ...] = ()
    series: SeriesCounts | None = None


def _count(scorer: Scorer, time: str, nothing: Replay, taken: FileChunk) -> _Counted:
    records, followed = taken.parsed(), taken.followed
    counted = replace(nothing, rejected=len(records.rejects))
    if not len(records.table):
        return _Counted(counted, np.zeros(0, np.int64), np.zeros(0))
    times = read_times(records.frame()[time], zone_of(scorer.artifact.schema))
    timed = times.minutes.is_not_null().to_numpy() & records.good
    untimed = int((records.good & ~timed).sum())
    if followed is None:
        verdicts = scorer.score_table(records.table, explain=0)
    else:
        verdicts = scorer.score_taken(followed.taken, explain=0)
        timed &= verdicts.judged
    decided = decide(scorer.artifact, verdicts, timed, records.table, nothing.alphas)
    at = times.minutes.fill_null(0).to_numpy()[timed]
    severe = (verdicts.severity[timed] > SEVERE).astype(np.int64)
    counts = replace(
        counted,
        minutes=Timeline(at, np.ones(len(at), np.int64), severe, decided.alarms).by(1),
        untimed=untimed,
        units=frozenset({times.unit} - {""}),
        segments=decided.by_segment,
        slots=None if decided.judges is None else BySlot.of(at, decided.judges),
    )
    one = _Counted(counts, at, verdicts.score[timed], decided.slots)
    if followed is None:
        return one
    rows = np.flatnonzero(timed)
    alarms = [alarms_at(records.table, rows[column > 0]) for column in decided.alarms.T]
    return replace(one, alarms=tuple(alarms), series=followed.counts)
