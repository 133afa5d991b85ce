"""incidents, labelled records -> which labelled incidents are found, split, merged, or false."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.chance import RARE
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import Rules
from vaewatch.scoring.incidents.stream import Stream


@dataclass(frozen=True)
class Comparison:
    """Incidents beside labelled ones: the anomalies of one group and label that are no further
    apart than the merge gap.

    Attributes:
        labelled: labelled incidents. found: those of which a record alarms. rare: those of which
            one is in an incident that is rarer than RARE among those of chance.
        split: found by several incidents.
        incidents: of alarms. merged: those that hold several labelled ones.
        false: those that hold none; false_rare: of these, those rarer than RARE.
    """

    labelled: int
    found: int
    rare: int
    split: int
    incidents: int
    merged: int
    false: int
    false_rare: int


def compare(
    rules: Rules,
    seen: JudgedRecords,
    anomaly: NDArray[np.bool_],
    kinds: NDArray[np.uint32] | None = None,
) -> Comparison:
    """Compare the incidents of N records with their labels.

    Args:
        anomaly: (N,) which records are anomalies.
        kinds: (N,) their labels, as numbers; by default all anomalies have one.
    """
    found, (labelled, events) = Grouped.of(rules, seen), events_of(rules, seen, anomaly, kinds)
    return found.compared(labelled[found.rows], events)


@dataclass(frozen=True)
class Grouped:
    """The alarms of some records as incidents.

    Attributes:
        rare: of each incident, whether it is rarer than RARE among those of chance.
        rows: (n,) the records that alarm; incidents: (n,) the place of the incident of each.
    """

    rare: list[bool]
    rows: NDArray[np.int64]
    incidents: NDArray[np.int64]

    @classmethod
    def of(cls, rules: Rules, seen: JudgedRecords) -> Grouped:
        stream = Stream(rules)
        stream.take(seen.grouped(rules))
        found = list(stream.incidents())
        rare = [group.chance(rules.of_group(one.group), one) <= RARE for group, one in found]
        places = _Places.of_incidents([one for _, one in found])
        rows = np.flatnonzero(seen.counts & seen.verdicts.is_anomaly)
        incidents = [places.incident(rules, alarm) for alarm in seen.alarms(rows)]
        return cls(rare, rows, np.array(incidents, np.int64))

    def compared(self, labelled: NDArray[np.int64], events: int) -> Comparison:
        """Compare incidents with labelled ones, of which there are so many. `labelled`: (n,) the
        one that each alarm is in, -1 of those in none.
        """
        of_event: dict[int, set[int]] = defaultdict(set)
        of_incident: dict[int, set[int]] = defaultdict(set)
        hits = labelled >= 0
        for incident, event in zip(
            self.incidents[hits].tolist(), labelled[hits].tolist(), strict=True
        ):
            of_event[event].add(incident)
            of_incident[incident].add(event)
        rare = self.rare
        false = [i for i in range(len(rare)) if i not in of_incident]
        return Comparison(
            labelled=events,
            found=len(of_event),
            rare=sum(any(rare[i] for i in incidents) for incidents in of_event.values()),
            split=sum(len(incidents) > 1 for incidents in of_event.values()),
            incidents=len(rare),
            merged=sum(len(events) > 1 for events in of_incident.values()),
            false=len(false),
            false_rare=sum(rare[i] for i in false),
        )


def events_of(
    rules: Rules, seen: JudgedRecords, anomaly: NDArray[np.bool_], kinds: NDArray[np.uint32] | None
) -> tuple[NDArray[np.int64], int]:
    """Return the labelled incident of each record, (N,), -1 of those of none, and their number."""
    labelled = np.full(len(anomaly), -1, np.int64)
    rows = np.flatnonzero(seen.counts & anomaly)
    if not len(rows):
        return labelled, 0
    kind = np.zeros(len(rows), np.uint32) if kinds is None else kinds[rows]
    group, moments = seen.members.codes[rows], seen.moments[rows]
    order = np.lexsort([moments, kind, group])
    new = (np.diff(group[order]) != 0) | (np.diff(kind[order]) != 0)
    new |= np.diff(moments[order]) > rules.rule.gap
    events = np.concatenate([[0], np.cumsum(new)])
    labelled[rows[order]] = events
    return labelled, int(events[-1]) + 1


@dataclass(frozen=True)
class _Places:
    """Where incidents lie: by group and key, in order, when each span begins, and its incident."""

    starts: dict[tuple[str, str], list[int]]
    of: dict[tuple[str, str], list[int]]

    @classmethod
    def of_incidents(cls, incidents: list[Incident]) -> _Places:
        spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for i, one in enumerate(incidents):
            for key, own in one.spans.items():
                spans[one.group, key] += [(start, i) for start, _ in own]
        starts, of = {}, {}
        for place, own in spans.items():
            own.sort()
            starts[place], of[place] = [start for start, _ in own], [i for _, i in own]
        return cls(starts, of)

    def incident(self, rules: Rules, alarm: Alarm) -> int:
        """Return which incident an alarm belongs to: the one in whose span it lies."""
        key = rules.of_group(alarm.group).keys(alarm)[0]
        place = alarm.group, key
        return self.of[place][bisect_right(self.starts[place], alarm.moment) - 1]
