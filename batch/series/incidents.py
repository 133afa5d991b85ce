"""alarms of entities, in any order -> incidents: alarms no further apart than a window are one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.incidents.spans import Span, add_moment
from vaewatch.scoring.series.window import ONE, Window
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Alarms:
    """The entities of n alarms, None where there is one series, and their moments, (n,)."""

    entities: tuple[str, ...] | None
    moments: NDArray[np.int64]


def alarms_at(table: Table, rows: NDArray[np.int64]) -> Alarms:
    """Return the alarms in these rows, (n,), of a table."""
    if table.times is None:
        raise AssertionError("a window takes a time: `check_window` refuses an artifact without")
    names = table.entities
    own = None if names is None else tuple(names[i] for i in rows.tolist())
    return Alarms(own, table.times[rows])


@dataclass
class IncidentSpans:
    """The spans of the incidents of each entity, in order of time, so far."""

    window: Window
    spans: dict[str, list[Span]] = field(default_factory=dict)

    def add(self, alarms: Alarms) -> int:
        """Take alarms in, and return how many more incidents there are; fewer, where alarms lie
        between two and make them one.
        """
        names: Sequence[str] = alarms.entities or [ONE] * len(alarms.moments)
        pairs = zip(names, alarms.moments.tolist(), strict=True)
        return sum(self._add(name, moment) for name, moment in pairs)

    def starts(self) -> NDArray[np.int64]:
        """Return the moment at which each incident began, in order, (n,)."""
        found = [span[0] for spans in self.spans.values() for span in spans]
        return np.array(sorted(found), np.int64)

    def _add(self, name: str, moment: int) -> int:
        gap = self.window.size * self.window.step
        return add_moment(self.spans.setdefault(name, []), moment, gap)
