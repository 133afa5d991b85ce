"""records with a time -> alarms an hour and a day, at several alphas, and the alerts on them.

Only counts by minute are kept, so memory grows with the time that a file covers, not with its
rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.incidents.collector import ids_of
from vaewatch.batch.replay.alerts import SEVERE
from vaewatch.batch.replay.changed import NAME, SEVERITY, TrafficWatch
from vaewatch.batch.replay.outcome import Replay
from vaewatch.batch.replay.segments import decide
from vaewatch.batch.replay.series import SeriesWatch
from vaewatch.batch.replay.timeline import Timeline
from vaewatch.batch.replay.times import read_times, require_times
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.incidents import Alarms, alarms_at
from vaewatch.batch.series.judging import JudgedChunk
from vaewatch.batch.workers import Team, in_order
from vaewatch.scoring.budget.calibration import check_alpha
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.files.source import chunks_of, expand, open_source
from vaewatch.scoring.incidents.grouping import Group
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import Rules, members_of
from vaewatch.scoring.incidents.stream import Stream
from vaewatch.scoring.schema import require_columns
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.settling import on_one_scale
from vaewatch.scoring.time.counted import BySlot
from vaewatch.scoring.verdicts import Verdicts


def replay(
    scorer: Scorer,
    sources: Sequence[str],
    time: str,
    alphas: Sequence[float],
    threads: int = 1,
    stream: Stream | None = None,
) -> Replay:
    """Score files and count their alarms by minute. `stream` takes those at the first alpha in."""
    calibration = scorer.artifact.calibration
    for alpha in alphas:
        check_alpha(alpha, calibration.n)
    laws = tuple(map(calibration.rate_law, alphas))
    nothing = Replay(Timeline.none(len(alphas)), tuple(alphas), laws, 0, 0)
    if (segments := scorer.artifact.segments) is not None:
        none = np.zeros((len(segments.labels), 1 + len(alphas)), np.int64)
        nothing = replace(nothing, segments=none, labels=segments.labels)
    rules = None if stream is None else stream.rules
    count = _Count(scorer, time, nothing, rules)
    own = segments.own_scores if segments is not None else ()
    total, watch = nothing, TrafficWatch(calibration, own)
    follow = SeriesWatch.of(scorer.artifact, time, alphas)
    chunks = _chunks(scorer, expand(sources), time)
    with Team(threads) as team:
        found = (
            in_order(chunks, count.chunk, team)
            if follow is None
            else map(
                count.judged, follow.judged(chunks, scorer, team, explained=rules is not None)
            )
        )
        for one in found:
            if follow is not None:
                follow.take(one.alarms, one.series)
            else:
                watch.take(one.at, one.scores, one.slots)
            if stream is not None:
                stream.take(one.groups)
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
    and how the records stand to those before them. groups: of the alarms at the first alpha.
    """

    counts: Replay
    at: NDArray[np.int64]
    scores: NDArray[np.float64]
    slots: NDArray[np.int64] | None = None
    alarms: tuple[Alarms, ...] = ()
    series: SeriesCounts | None = None
    groups: Mapping[str, Group] = field(default_factory=dict)


@dataclass(frozen=True)
class _Count:
    """Counts the records of chunks; it travels between processes.

    rules: how alarms become incidents, where these are asked for.
    """

    scorer: Scorer
    time: str
    nothing: Replay
    rules: Rules | None

    def chunk(self, taken: FileChunk) -> _Counted:
        """Score and count a chunk."""
        records = taken.parsed()
        if not len(records.table):
            return self._none(records)
        table, artifact, alpha = records.table, self.scorer.artifact, self.nothing.alphas[0]
        if self.rules is None:
            return self._counted(records, self.scorer.score_table(table, explain=0))
        explained = self.scorer.score_table(table, alpha=alpha)
        if artifact.segments is None or alpha == artifact.calibration.alpha:
            return self._counted(records, explained, explained)
        # at another alpha, other calibrations may judge
        return self._counted(records, self.scorer.score_table(table, explain=0), explained)

    def judged(self, one: JudgedChunk) -> _Counted:
        """Count a chunk of an artifact with a window."""
        if not len(one.records.table):
            return self._none(one.records)
        counted = self._counted(one.records, one.verdicts, one.verdicts)
        return replace(counted, series=one.counts)

    def _none(self, records: Records) -> _Counted:
        counts = replace(self.nothing, rejected=len(records.rejects))
        return _Counted(counts, np.zeros(0, np.int64), np.zeros(0))

    def _counted(
        self, records: Records, verdicts: Verdicts, explained: Verdicts | None = None
    ) -> _Counted:
        """Count records. `explained`: with reasons, at the first alpha, for incidents."""
        artifact = self.scorer.artifact
        times = read_times(records.frame()[self.time], artifact.schema.time)
        timed = times.minutes.is_not_null().to_numpy() & records.good
        untimed = int((records.good & ~timed).sum())
        timed &= verdicts.judged
        decided = decide(artifact, verdicts, timed, records.table, self.nothing.alphas)
        at = times.minutes.fill_null(0).to_numpy()[timed]
        severe = (verdicts.severity[timed] > SEVERE).astype(np.int64)
        counts = replace(
            self.nothing,
            rejected=len(records.rejects),
            minutes=Timeline(at, np.ones(len(at), np.int64), severe, decided.alarms).by(1),
            untimed=untimed,
            units=frozenset({times.unit} - {""}),
            segments=decided.by_segment,
            slots=None if decided.judges is None else BySlot.of(at, decided.judges),
        )
        one = _Counted(counts, at, verdicts.score[timed], decided.slots)
        if self.rules is not None and explained is not None:
            members = members_of(artifact, records.table)
            ids = ids_of(records, artifact.schema.id)
            explained = on_one_scale(artifact, records.table, explained)
            seen = JudgedRecords(times.moments, members, explained, timed, ids)
            one = replace(one, groups=seen.grouped(self.rules))
        if artifact.window is None:
            return one
        rows = np.flatnonzero(timed)
        alarms = [alarms_at(records.table, rows[column > 0]) for column in decided.alarms.T]
        return replace(one, alarms=tuple(alarms))
