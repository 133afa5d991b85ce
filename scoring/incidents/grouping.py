"""alarms of one group, in any order -> incidents.

Two alarms hang together if they are no further apart than the merge gap and have a main column in
common (or, where windows overlap in time, whatever their columns are). An incident is what hangs
together, directly or by others: it does not depend on the order in which alarms come, or on the
calls that bring them.

Records are counted in buckets of a sixteenth of the gap, from that of the first alarm to that of
the last one. The last buckets are kept; what is older is settled, so that memory is bounded and
only what comes very late is counted with less evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field, structs

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.chance import Excess
from vaewatch.scoring.incidents.incident import Incident, Span

ANY = ""  # the key by which alarms join whatever their columns are
BUCKETS = 16  # of one gap
KEPT = 4 * BUCKETS  # buckets behind the newest one that are not settled yet


class Rule(Struct, frozen=True):
    """How alarms of a stream become incidents.

    gap: the merge gap, in microseconds, or in records where there is no time.
    by_column: whether alarms must have a main column in common.
    expected_rate: the share of normal records that alarm; highest_rate: its upper limit.
    spacing: so many records that follow each other are worth one, since their windows overlap.
    """

    gap: int
    by_column: bool
    expected_rate: float
    highest_rate: float
    spacing: int = 1

    def bucket(self, moment: int) -> int:
        return moment // max(self.gap // BUCKETS, 1)

    def keys(self, alarm: Alarm) -> Sequence[str]:
        """Return the columns by which an alarm joins others."""
        return alarm.columns if self.by_column and alarm.causes else (ANY,)


class Group(Struct):
    """The incidents of one group that may still change, and what they need.

    Attributes:
        newest: the newest bucket.
        records: in each bucket that is not settled.
        incidents: in order of their first moments.
    """

    newest: int = 0
    records: dict[int, int] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)

    def add(self, rule: Rule, alarms: Iterable[Alarm], records: Mapping[int, int]) -> None:
        """Take in alarms, and numbers of records (alarms included) by bucket."""
        for alarm in alarms:
            self._add(rule, alarm)
        for bucket, n in records.items():
            self.records[bucket] = self.records.get(bucket, 0) + n
        self.newest = max([self.newest, *records])
        self._settle(rule, self.newest - KEPT)

    def _add(self, rule: Rule, alarm: Alarm) -> None:
        new = Incident.of(alarm, rule.keys(alarm), rule.bucket(alarm.moment))
        joined = [one for one in self.incidents if _hang_together(one, new, rule.gap)]
        known = {id for one in joined for id in (one.id, *one.merged)}
        whole = joined[0] if joined else new
        for other in [*joined[1:], new] if joined else []:
            whole.take(other)
        whole.spans = {key: _united(spans, rule.gap) for key, spans in whole.spans.items()}
        whole.merged = sorted(known - {whole.id})
        rest = [one for one in self.incidents if not any(one is other for other in joined)]
        self.incidents = sorted([*rest, whole], key=lambda one: (one.first, one.main))

    def _settle(self, rule: Rule, until: int) -> None:
        """Make buckets before `until` a part of the evidence of the incidents that cover them."""
        for bucket in sorted(b for b in self.records if b < until):
            for one in self.incidents:
                if rule.bucket(one.first) <= bucket <= rule.bucket(one.last):
                    _count(one.excess, self.records[bucket], one.fresh.pop(bucket, 0), rule)
            del self.records[bucket]

    def evidence(self, rule: Rule, incident: Incident) -> Excess:
        """Return the evidence of an incident, with that of the buckets that are not settled."""
        found = structs.replace(incident.excess)
        last = rule.bucket(incident.last)
        for bucket in sorted(b for b in self.records if rule.bucket(incident.first) <= b <= last):
            _count(found, self.records[bucket], incident.fresh.get(bucket, 0), rule)
        return found

    def forget(self, rule: Rule, moment: int) -> list[Incident]:
        """Drop the incidents that ended before a moment, and return them: nothing that comes
        later than that changes them.
        """
        ended = [one for one in self.incidents if one.last + rule.gap < moment]
        self.incidents = [one for one in self.incidents if one.last + rule.gap >= moment]
        return ended


def _count(excess: Excess, records: int, alarms: int, rule: Rule) -> None:
    excess.add(records, alarms, rule.highest_rate, rule.spacing)


def _hang_together(one: Incident, new: Incident, gap: int) -> bool:
    moment = new.first
    if not one.first - gap <= moment <= one.last + gap:
        return False
    spans = (span for key in new.spans for span in one.spans.get(key, ()))
    return any(start - gap <= moment <= end + gap for start, end in spans)


def _united(spans: list[Span], gap: int) -> list[Span]:
    """Join the spans that are no further apart than the gap."""
    found = spans[:1]
    for start, end in spans[1:]:
        if start <= found[-1][1] + gap:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
