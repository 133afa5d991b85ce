"""alarms of one group, in any order -> incidents.

Two alarms hang together if they are no further apart than the merge gap and have a main column in
common (or, where windows overlap in time, whatever their columns are). An incident is what hangs
together, directly or by others: it does not depend on the order in which alarms come, or on the
calls that bring them.

Records are counted in buckets of a sixteenth of the gap, from that of the first alarm to that of
the last one. The buckets that came last are kept; the others are settled, so that memory is
bounded. What comes later than that is counted by itself. Where several bring what they have, what
has just come is kept too: the alarm that needs it may be another one's.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field, structs

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.chance import LEAST, Excess
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.peaks import Peaks

ANY = ""  # the key by which alarms join whatever their columns are
BUCKETS = 16  # of one gap
HIGH = 0.9  # of a chance is for the peak; the rest, for many alarms, which prove much once they do
KEPT = 4 * BUCKETS  # of these, with records, are not settled yet; BUCKETS without incidents
JUST = 30  # seconds, in which all that came is kept, by the clock
MOST_KEPT = 20_000  # buckets, however fast they come


class Rule(Struct, frozen=True):
    """How alarms of a stream become incidents.

    gap: the merge gap, in microseconds, or in records where there is no time.
    by_column: whether alarms must have a main column in common.
    expected_rate: the share of normal records that alarm; highest_rate: its upper limit.
    spacing: so many records that follow each other are worth one, since their windows overlap.
    peaks: those of normal incidents of windows, where they are known.
    """

    gap: int
    by_column: bool
    expected_rate: float
    highest_rate: float
    spacing: int = 1
    peaks: Peaks | None = None

    @property
    def width(self) -> int:
        """Of a bucket, in the unit of moments."""
        return max(self.gap // BUCKETS, 1)

    def bucket(self, moment: int) -> int:
        return moment // self.width

    def keys(self, alarm: Alarm) -> Sequence[str]:
        """Return the columns by which an alarm joins others."""
        return alarm.columns if self.by_column and alarm.causes else (ANY,)

    def high(self, alarm: Alarm) -> float | None:
        """Return the share of normal incidents that peak as high as an alarm."""
        if self.peaks is None or alarm.score is None:
            return None
        return self.peaks.chance(alarm.score)

    def chance(self, incident: Incident, evidence: Excess) -> float:
        """Return the share of the incidents by chance that are as strong as this one."""
        if self.peaks is None or incident.high is None:
            return evidence.chance(incident.least_p, incident.alarms, self.expected_rate)
        high = incident.high * self.peaks.joined(incident.last - incident.first, self.gap)
        return max(LEAST, min(1.0, high / HIGH, evidence.many() / (1 - HIGH)))


class Group(Struct):
    """The incidents of one group that may still change, and what they need.

    Attributes:
        newest: the newest bucket.
        records: in each bucket that is not settled; that which came last is the last one.
        incidents: in order of their first moments.
        came: how many buckets came in each of the last seconds, where that is told.
    """

    newest: int = 0
    records: dict[int, int] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    came: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rule: Rule, alarms: Iterable[Alarm], records: Mapping[int, int]) -> Group:
        """Group some alarms by themselves, for `take`: no bucket is settled."""
        return cls(max(records, default=0), dict(records), chained(rule, alarms))

    def add(
        self,
        rule: Rule,
        alarms: Iterable[Alarm],
        records: Mapping[int, int],
        second: int | None = None,
    ) -> None:
        """Take in alarms, and numbers of records (alarms included) by bucket.

        second: the clock's, where several bring what they have.
        """
        if second is not None:
            self.came = {at: n for at, n in self.came.items() if at > second - JUST}
            self.came[second] = self.came.get(second, 0) + len(records)
        self.take(rule, Group.of(rule, alarms, records))

    def take(self, rule: Rule, other: Group) -> None:
        """Take in what was grouped by itself, and came after what is in, or late."""
        self._join(rule, other.incidents)
        for bucket in sorted(other.records):
            self.records[bucket] = self.records.pop(bucket, 0) + other.records[bucket]
        self.newest = max(self.newest, other.newest)
        kept = (KEPT if self.incidents else BUCKETS) + sum(self.came.values())
        more = len(self.records) - min(kept, MOST_KEPT)
        if more > 0:
            self._settle(rule, list(self.records)[:more])

    def _join(self, rule: Rule, others: Sequence[Incident]) -> None:
        """Take in incidents that do not hang together by themselves, but may by those here."""
        if not others:
            return
        least, gone = min(one.first for one in others) - rule.gap, set[int]()
        here = [one for one in self.incidents if one.last >= least]
        for new in others:
            joined = [one for one in here if one.near(new, rule.gap)]
            if not joined:
                self.incidents.append(new)
                continue
            known = {name for one in joined for name in (one.id, *one.merged)}
            whole = joined[0]
            for other in [*joined[1:], new]:
                whole.take(other, rule.gap)
            whole.shorten()
            whole.merged = sorted(known - {whole.id})
            gone |= {id(one) for one in joined[1:]}
            here = [one for one in here if id(one) not in gone]
        self.incidents = [one for one in self.incidents if id(one) not in gone]
        self.incidents.sort(key=lambda one: (one.first, one.main))

    def _settle(self, rule: Rule, buckets: Iterable[int]) -> None:
        """Make buckets a part of the evidence of the incidents that cover them."""
        settled = {bucket: self.records.pop(bucket) for bucket in sorted(buckets)}
        buckets = list(settled)
        for one in self.incidents:
            start = bisect_left(buckets, rule.bucket(one.first))
            end = bisect_right(buckets, rule.bucket(one.last))
            for bucket in buckets[start:end]:
                _count(one.excess, settled[bucket], one.fresh.pop(bucket, 0), rule)

    def evidence(self, rule: Rule, incident: Incident) -> Excess:
        """Return the evidence of an incident, with that of the buckets that are not settled."""
        found = structs.replace(incident.excess)
        last = rule.bucket(incident.last)
        for bucket in sorted(b for b in self.records if rule.bucket(incident.first) <= b <= last):
            _count(found, self.records[bucket], incident.fresh.get(bucket, 0), rule)
        return found

    def chance(self, rule: Rule, incident: Incident) -> float:
        """Return the share of the incidents by chance that are as strong as this one."""
        return rule.chance(incident, self.evidence(rule, incident))

    def forget(self, rule: Rule, moment: int) -> list[Incident]:
        """Drop the incidents that ended before a moment, and return them with all their evidence:
        the buckets that they cover are settled, so that one that comes back counts none twice.
        """
        ended = [one for one in self.incidents if one.last + rule.gap < moment]
        if ended:
            last = max(rule.bucket(one.last) for one in ended)
            self._settle(rule, [bucket for bucket in self.records if bucket <= last])
            self.incidents = [one for one in self.incidents if one.last + rule.gap >= moment]
        return ended


def chained(rule: Rule, alarms: Iterable[Alarm]) -> list[Incident]:
    """Return the incidents of some alarms, in any order."""
    tips: dict[str, Incident] = {}  # by key: the incident of the last alarm with it
    ends: dict[str, int] = {}  # and the moment of that alarm
    found: dict[int, Incident] = {}
    keys_of: dict[int, Sequence[str]] = {}  # by identity: causes of many alarms are one object
    width, gap = rule.width, rule.gap
    some = sorted(alarms, key=lambda alarm: alarm.moment)
    for alarm in some:
        at = alarm.moment
        keys = keys_of.get(id(alarm.causes)) or rule.keys(alarm)
        keys_of[id(alarm.causes)] = keys
        near = {id(tips[k]): tips[k] for k in keys if k in tips and at - ends[k] <= gap}
        whole, *others = near.values() or [Incident.of(alarm)]
        for other in others:
            whole.take(other, gap)
            del found[id(other)]
            tips |= {key: whole for key, tip in tips.items() if tip is other}
        found[id(whole)] = whole
        whole.add(alarm, keys, at // width, gap)
        whole.peaks_at(rule.high(alarm))
        for key in keys:
            tips[key], ends[key] = whole, at
    for one in found.values():
        one.shorten()
    return list(found.values())


def _count(excess: Excess, records: int, alarms: int, rule: Rule) -> None:
    excess.add(records, alarms, rule.highest_rate, rule.spacing)
