"""N records and their verdicts -> the groups that they make by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.incidents.alarm import Alarm, causes_of
from vaewatch.scoring.incidents.grouping import Group
from vaewatch.scoring.incidents.rule import Membership, Rules
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.verdicts import Verdicts

Names = Callable[[NDArray[np.int64]], Sequence[str | None]]


@dataclass(frozen=True)
class JudgedRecords:
    """N records that were judged.

    Attributes:
        moments: (N,) of the records; NO_TIME of those that have none, which are in no group.
        members: the group of each.
        good: (N,) the records that count.
        ids: gives the ids of some rows; None where records have none.
    """

    moments: NDArray[np.int64]
    members: Membership
    verdicts: Verdicts
    good: NDArray[np.bool_]
    ids: Names | None = None

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(N,) the records that count, were judged and have a moment."""
        return np.asarray(self.good & self.verdicts.judged & (self.moments != NO_TIME))

    def grouped(self, rules: Rules) -> dict[str, Group]:
        """Return the group of each name that has records."""
        good, alarms = self.counts, dict[str, list[Alarm]]()
        for alarm in self.alarms(np.flatnonzero(good & self.verdicts.is_anomaly)):
            alarms.setdefault(alarm.group, []).append(alarm)
        return {
            name: Group.of(rules.of_group(name), alarms.get(name, ()), records)
            for name, records in self.records(rules, np.flatnonzero(good))
        }

    def records(
        self, rules: Rules, rows: NDArray[np.int64]
    ) -> Iterator[tuple[str, dict[int, int]]]:
        """Yield each group of these rows with its records by bucket."""
        if not len(rows):
            return
        codes = self.members.codes[rows]
        buckets = self.moments[rows] // rules.rule.width
        order = np.lexsort([buckets, codes])
        codes, buckets = codes[order], buckets[order]
        new = np.flatnonzero((np.diff(codes) != 0) | (np.diff(buckets) != 0)) + 1
        starts = np.concatenate([[0], new])
        counts = np.diff(np.concatenate([starts, [len(rows)]])).tolist()
        codes, buckets = codes[starts], buckets[starts].tolist()
        cuts = [0, *(np.flatnonzero(np.diff(codes) != 0) + 1).tolist(), len(codes)]
        for start, end in zip(cuts, cuts[1:], strict=False):
            name = self.members.names[int(codes[start])]
            yield name, dict(zip(buckets[start:end], counts[start:end], strict=True))

    def alarms(self, rows: NDArray[np.int64]) -> Iterator[Alarm]:
        """Yield the alarms in these rows."""
        if not len(rows):
            return
        names, codes = self.members.names, self.members.codes[rows].tolist()
        moments, reasons = self.moments[rows].tolist(), self.verdicts.reasons
        severities = self.verdicts.severity[rows].tolist()
        p_values = self.verdicts.p_value[rows].tolist()
        scores = self.verdicts.score[rows].tolist()
        ids = [None] * len(rows) if self.ids is None else self.ids(rows)
        for at, row in enumerate(rows.tolist()):
            causes = causes_of(reasons[row])
            group = names[codes[at]]
            measured = severities[at], p_values[at]
            yield Alarm(moments[at], group, *measured, causes, ids[at], scores[at])
