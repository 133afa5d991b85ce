"""the store -> confirmed incidents, as spans of groups whose records calibrate nothing.

All records of the group go, as for `vaewatch recalibrate --feedback`; where all records are one
group, every record of the span. Without those that alarm alone, what is left would look more
regular than normal traffic is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

from sqlalchemy import Connection, select

from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.scoring.schema import other_code
from vaewatch.service.incidents.rows import report_in
from vaewatch.service.store.tables import incidents

MOST = 10_000  # the last ones


@dataclass(frozen=True)
class GroupSpan:
    """A confirmed incident. first, last: its alarms, in microseconds.

    code: of its segment, or the number of its entity; None for all records.
    """

    code: int | None
    first: int
    last: int


def confirmed(connection: Connection, segments: Segments | None) -> tuple[GroupSpan, ...]:
    """Return the confirmed incidents. `segments`: those of the artifact that answers."""
    t = incidents.c
    query = select(incidents).where(t.label == Label.CONFIRMED).order_by(t.last.desc()).limit(MOST)
    codes_of = _codes(segments)
    return tuple(
        GroupSpan(code, row.first, row.last)
        for row in connection.execute(query)
        for code in codes_of(GroupKind(row.kind or report_in(row).group.kind.value), row.name)
    )


def _codes(segments: Segments | None) -> Callable[[GroupKind, str], Iterator[int | None]]:
    """Return what finds the numbers of a group in a sample of scores: None for all records."""
    labels = [] if segments is None else [label or "" for label in segments.labels]

    def codes(kind: GroupKind, name: str) -> Iterator[int | None]:
        if kind is GroupKind.ENTITY:
            yield crc32(name.encode())
        elif kind is GroupKind.OTHER and segments is not None:
            yield other_code(segments.column)  # whatever its label was
        elif kind in (GroupKind.OTHER, GroupKind.SEGMENT):
            yield from (code for code, label in enumerate(labels) if label == name)
        else:
            yield None

    return codes
