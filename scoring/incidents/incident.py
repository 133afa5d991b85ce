"""alarms that belong together -> Incident: one thing to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct, field

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.chance import Excess
from vaewatch.scoring.incidents.spans import Span, are_near, united

MOST_EXAMPLES = 5
MOST_SPANS = 64  # by which a column's alarms are known, from one pause to the next


class Share(Struct, gc=False):
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
            than the merge gap. Of many, the oldest are taken for one: see `shorten`.
        excess: the evidence of the buckets that are settled.
        fresh: the alarms in each bucket that is not.
        merged: ids under which it, or a part of it, was known before.
        high: the share of normal incidents that peak as high, by the artifact that judged the
            highest alarm; None where that is not known.
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
    high: float | None = None

    @classmethod
    def of(cls, alarm: Alarm) -> Incident:
        """Begin an incident with an alarm, which `add` then takes in."""
        at = alarm.moment
        return cls(alarm.group, alarm.main, at, at, 0, alarm.severity, alarm.p_value, {}, [])

    def add(self, alarm: Alarm, keys: Sequence[str], bucket: int, gap: int) -> None:
        """Take in an alarm that is not before those that are in. `keys`: the columns by which it
        joins others.
        """
        at = alarm.moment
        if at == self.first:
            self.main = min(self.main, alarm.main)
        self.last = at
        self.alarms += 1
        self.least_p = min(self.least_p, alarm.p_value)
        self.fresh[bucket] = self.fresh.get(bucket, 0) + 1
        for cause in alarm.causes:
            share = self.columns.setdefault(cause.column, Share())
            share.alarms += 1
            share.above += cause.direction > 0
            share.below += cause.direction < 0
        if len(self.examples) < MOST_EXAMPLES or alarm.severity >= self.examples[-1].severity:
            self.examples = _strongest([*self.examples, alarm])
            self.peak_severity = self.examples[0].severity
        for key in keys:
            spans = self.spans.setdefault(key, [])
            if spans and at - spans[-1][1] <= gap:
                spans[-1] = (spans[-1][0], at)
            else:
                spans.append((at, at))

    def peaks_at(self, high: float | None) -> None:
        """Take in how many normal incidents peak as high as an alarm of it."""
        if high is not None:
            self.high = high if self.high is None else min(self.high, high)

    def shorten(self) -> None:
        """Bound the memory that spans take: of more than MOST_SPANS the oldest become one, which
        an alarm joins that comes late and lies between them.
        """
        for spans in self.spans.values():
            if (more := len(spans) - MOST_SPANS) > 0:
                spans[: more + 1] = [(spans[0][0], spans[more][1])]

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits made of the group, the first moment and its main column, so
        that the same stream gives the same ids.
        """
        content = f"{self.group}\0{self.first}\0{self.main}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=6).hexdigest()

    def near(self, other: Incident, gap: int) -> bool:
        """Return whether two incidents of a group hang together."""
        if other.first - gap > self.last or self.first - gap > other.last:
            return False
        few, many = sorted([self.spans, other.spans], key=len)
        return any(are_near(spans, many[key], gap) for key, spans in few.items() if key in many)

    def take(self, other: Incident, gap: int) -> None:
        """Make another incident of the group a part of this one."""
        if (other.first, other.main) < (self.first, self.main):
            self.first, self.main = other.first, other.main
        self.last = max(self.last, other.last)
        self.alarms += other.alarms
        self.peak_severity = max(self.peak_severity, other.peak_severity)
        self.least_p = min(self.least_p, other.least_p)
        self.peaks_at(other.high)
        for column, share in other.columns.items():
            self.columns.setdefault(column, Share()).add(share)
        self.examples = _strongest(self.examples + other.examples)
        for bucket, alarms in other.fresh.items():
            self.fresh[bucket] = self.fresh.get(bucket, 0) + alarms
        self.excess.join(other.excess)
        for key, spans in other.spans.items():
            self.spans[key] = united(sorted([*self.spans.get(key, []), *spans]), gap)


def _strongest(alarms: list[Alarm]) -> list[Alarm]:
    def rank(alarm: Alarm) -> tuple[float, int, bool, str]:
        return -alarm.severity, alarm.moment, alarm.record is None, alarm.record or ""

    return sorted(alarms, key=rank)[:MOST_EXAMPLES]
