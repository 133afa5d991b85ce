"""records by group and bucket -> those that the store is still to learn of.

A stream may be replayed far faster than its records' own time runs, and the store may be away for
hours. So what precedes an alarm of this worker is held until the alarm is delivered, and what may
precede one of another worker is kept for as long as it takes to learn of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vaewatch.scoring.incidents.grouping import KEPT

PATIENCE = 30  # seconds, however old the bucket is


class _Entry(NamedTuple):
    at: float
    group: str
    bucket: int


@dataclass
class Counts:
    """Numbers of records. newest: the newest bucket."""

    newest: int = 0
    _kept: dict[str, dict[int, int]] = field(default_factory=dict)
    _since: dict[tuple[str, int], float] = field(default_factory=dict)
    _order: deque[_Entry] = field(default_factory=deque)  # in which they came
    _due: dict[str, dict[int, int]] = field(default_factory=dict)
    _held: int = 0

    def __len__(self) -> int:
        return len(self._order) + self._held

    def add(self, counts: Mapping[str, Mapping[int, int]], now: float) -> None:
        """Take numbers of records in, of each group by bucket."""
        for group, records in counts.items():
            kept = self._kept.setdefault(group, {})
            for bucket, n in records.items():
                if bucket not in kept:
                    self._order.append(_Entry(now, group, bucket))
                    self._since[group, bucket] = now
                kept[bucket] = kept.get(bucket, 0) + n
                self.newest = max(self.newest, bucket)

    def hold(self, group: str, buckets: Iterable[int], most: int) -> None:
        """Keep what an alarm in each of some buckets needs until `take`, while there is room."""
        kept = self._kept.get(group, {})
        wanted = {b for last in buckets for b in range(last - KEPT, last + 1) if b in kept}
        due = self._due.setdefault(group, {})
        for bucket in sorted(wanted):
            if self._held >= most:
                return
            self._held += bucket not in due
            due[bucket] = due.get(bucket, 0) + self._pop(group, bucket)

    def take(self, group: str, until: int) -> dict[int, int]:
        """Return what is known of a group up to a bucket, once."""
        found: dict[int, int] = {}
        due = self._due.get(group, {})
        for bucket in sorted(bucket for bucket in due if bucket <= until):
            found[bucket] = due.pop(bucket)
            self._held -= 1
        if not due:
            self._due.pop(group, None)
        for bucket in [bucket for bucket in self._kept.get(group, {}) if bucket <= until]:
            found[bucket] = found.get(bucket, 0) + self._pop(group, bucket)
        return dict(sorted(found.items()))

    def forget(self, now: float, most: int) -> None:
        """Drop what no alarm can need any more, and more of it where there is too much."""
        oldest = self.newest - KEPT
        while self._order:
            at, group, bucket = self._order[0]
            there = self._since.get((group, bucket)) == at
            aged = bucket < oldest and at < now - PATIENCE
            if there and not aged and len(self) <= most:
                return
            self._order.popleft()
            if there:
                self._pop(group, bucket)

    def _pop(self, group: str, bucket: int) -> int:
        kept = self._kept[group]
        n = kept.pop(bucket)
        del self._since[group, bucket]
        if not kept:
            del self._kept[group]
        return n
