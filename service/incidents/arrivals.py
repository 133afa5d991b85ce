"""scored records -> batches for the store: alarms, and records by group and bucket.

Records count only up to the last alarm of their group, of whichever worker. So they are kept for a
while, and delivered once an alarm is known: those of a group that never alarms never travel.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import members_of
from vaewatch.scoring.series.settling import on_one_scale
from vaewatch.scoring.time.form import NO_TIME, SECOND
from vaewatch.service.incidents.counts import Counts
from vaewatch.service.incidents.stream import Batch, Stream
from vaewatch.service.watch.judged import Judged

MOST_ALARMS = 20_000  # that wait; more are dropped, and counted
MOST_COUNTS = 200_000  # numbers of records, each of a group and a bucket
IN_A_BATCH = 2_000  # alarms; while one is taken, no other worker's is
LAZY = 5  # batches: so often the groups without new alarms are looked at


@dataclass
class Arrivals:
    """What one process has not delivered yet. One thread adds, another one takes batches."""

    dropped: int = field(default=0, init=False)  # alarms, since it was last asked
    _alarms: deque[tuple[Stream, Alarm]] = field(default_factory=deque)
    _stream: Stream | None = None  # that of the counts
    _counts: Counts = field(default_factory=Counts)
    _wanted: dict[str, int] = field(default_factory=dict)  # the bucket of the last alarm
    _number: int = 0
    _turn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._alarms)

    def add(self, stream: Stream, judged: Judged) -> None:
        """Take records in."""
        now = int(time() * SECOND)
        records = _records(judged, now)
        counts = dict(records.records(stream.rules, np.arange(len(judged.table))))
        alarms = list(records.alarms(np.flatnonzero(judged.alarms)))
        with self._lock:
            room = MOST_ALARMS - len(self._alarms)
            self._count(stream, counts, alarms[:room], now / SECOND)
            self._alarms.extend((stream, alarm) for alarm in alarms[:room])
            self.dropped += max(len(alarms) - room, 0)

    def _count(
        self,
        stream: Stream,
        counts: Mapping[str, Mapping[int, int]],
        alarms: Sequence[Alarm],
        now: float,
    ) -> None:
        if self._stream is None or self._stream.scope != stream.scope:
            self._counts, self._wanted = Counts(), {}
        self._stream = stream
        self._counts.add(counts, now)
        buckets: dict[str, set[int]] = {}
        for alarm in alarms:
            bucket = stream.rules.of_group(alarm.group).bucket(alarm.moment)
            buckets.setdefault(alarm.group, set()).add(bucket)
        for group, own in buckets.items():
            self._counts.hold(group, own, MOST_COUNTS)
        self._counts.forget(now, MOST_COUNTS)

    def want(self, scope: str, groups: Iterable[tuple[str, int]]) -> None:
        """Note the moments of the last alarms of groups, which any worker has delivered."""
        with self._lock:
            if self._stream is None or self._stream.scope != scope:
                return
            for group, moment in groups:
                self._want(group, self._stream.rules.of_group(group).bucket(moment))

    def _want(self, group: str, bucket: int) -> None:
        self._wanted[group] = max(self._wanted.get(group, bucket), bucket)

    def batch(self) -> Batch | None:
        """Take what is to be delivered; None if nothing is."""
        with self._lock:
            if self._stream is None:
                return None
            stream, alarms = self._front()
            records: dict[str, dict[int, int]] = {}
            if stream.scope == self._stream.scope:
                records = self._wanted_records(stream, alarms)
            if not alarms and not records:
                return None
            self._number += 1
            return Batch(self._number, stream, alarms, records)

    def _front(self) -> tuple[Stream, list[Alarm]]:
        """Take the alarms at the front that are of one stream."""
        assert self._stream is not None
        stream, alarms = self._alarms[0][0] if self._alarms else self._stream, list[Alarm]()
        while self._alarms and self._alarms[0][0] is stream and len(alarms) < IN_A_BATCH:
            alarms.append(self._alarms.popleft()[1])
        return stream, alarms

    def _wanted_records(
        self, stream: Stream, alarms: Sequence[Alarm]
    ) -> dict[str, dict[int, int]]:
        """Take the counts that matter. Of a bucket that may still grow they are taken only where
        the group has alarms in the batch: else each second would bring a part of it.
        """
        own = set[str]()
        for alarm in alarms:
            own.add(alarm.group)
            self._want(alarm.group, stream.rules.of_group(alarm.group).bucket(alarm.moment))
        now = stream.rules.rule.bucket(int(time() * SECOND))
        newest = max(self._counts.newest, now)
        records: dict[str, dict[int, int]] = {}
        self._turn += 1
        for group in list(self._wanted) if self._turn % LAZY == 0 else own:
            last = self._wanted[group]
            found = self._counts.take(group, last if group in own else min(last, newest - 1))
            if found:
                records[group] = found
            if last < newest - 1 and group not in own:
                del self._wanted[group]
        return records


def _records(judged: Judged, now: int) -> JudgedRecords:
    """Return the records as incidents take them. Those without moments are of now."""
    table = judged.table
    moments = np.full(len(table), now)
    if table.times is not None:
        moments = np.where(table.times == NO_TIME, now, table.times)
    verdicts = replace(judged.verdicts, p_value=judged.p_value, severity=judged.severity)
    verdicts = on_one_scale(judged.artifact, table, verdicts)

    def ids(rows: NDArray[np.int64]) -> list[str | None]:
        return [judged.ids.get(row) for row in rows.tolist()]

    every = np.ones(len(table), np.bool_)
    return JudgedRecords(moments, members_of(judged.artifact, table), verdicts, every, ids)
