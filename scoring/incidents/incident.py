"""alarms that belong together -> Incident: one thing to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct, field

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.chance import Excess

MOST_EXAMPLES = 5
Span = tuple[int, int]  # the moments of a first and a last alarm


class Share(Struct):
    """The alarms of an incident of which a column is a main reason, and those of them whose value
    was above or below what was expected.
    """

    alarms: int = 0
    above: int = 0
    below: int = 0

    def add(self, other: Share) -> None:
        self.alarms += other.alarms
        self.above += other.above
        self.below += other.below


class Incident(Struct):
    """The alarms of one group that hang together.

    Attributes:
        group: the entity or segment; empty where there is neither.
        main: the main column of the first alarm; empty if nothing is known of its reasons.
        first: the moment of the first alarm; `last`: that of the last one.
        peak_severity: the largest; least_p: the smallest p-value.
        columns: of the main reasons.
        examples: the alarms that are most severe, the first one of equals first.
        spans: by column (or ANY), in order, the spans in which its alarms are no further apart
            than the merge gap.
        excess: the evidence of the buckets that are settled.
        fresh: the alarms in each bucket that is not.
        merged: ids under which it, or a part of it, was known before.
    """

    group: str
    main: str
    first: int
    last: int
    alarms: int
    peak_severity: float
    least_p: float
    columns: dict[str, Share]
    examples: list[Alarm]
    spans: dict[str, list[Span]] = field(default_factory=dict)
    excess: Excess = field(default_factory=Excess)
    fresh: dict[int, int] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, alarm: Alarm, keys: Sequence[str], bucket: int) -> Incident:
        """Begin an incident with one alarm. `keys`: the columns by which it joins others."""
        main = alarm.columns[0] if alarm.causes else ""
        shares = {c.column: Share(1, c.direction > 0, c.direction < 0) for c in alarm.causes}
        at, p = alarm.moment, alarm.p_value
        found = cls(alarm.group, main, at, at, 1, alarm.severity, p, shares, [alarm])
        found.spans = {key: [(at, at)] for key in keys}
        found.fresh = {bucket: 1}
        return found

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits made of the group, the first moment and its main column, so
        that the same stream gives the same ids.
        """
        content = f"{self.group}\0{self.first}\0{self.main}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=6).hexdigest()

    def take(self, other: Incident) -> None:
        """Make another incident of the group a part of this one."""
        if (other.first, other.main) < (self.first, self.main):
            self.first, self.main = other.first, other.main
        self.last = max(self.last, other.last)
        self.alarms += other.alarms
        self.peak_severity = max(self.peak_severity, other.peak_severity)
        self.least_p = min(self.least_p, other.least_p)
        for column, share in other.columns.items():
            self.columns.setdefault(column, Share()).add(share)
        self.examples = _strongest(self.examples + other.examples)
        for bucket, alarms in other.fresh.items():
            self.fresh[bucket] = self.fresh.get(bucket, 0) + alarms
        self.excess.join(other.excess)
        for key, spans in other.spans.items():
            self.spans[key] = sorted([*self.spans.get(key, []), *spans])


def _strongest(alarms: list[Alarm]) -> list[Alarm]:
    def rank(alarm: Alarm) -> tuple[float, int, str]:
        return -alarm.severity, alarm.moment, alarm.record or ""

    return sorted(alarms, key=rank)[:MOST_EXAMPLES]
