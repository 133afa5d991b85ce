"""a CSV file of feedback -> marks: what people said of incidents and records.

The file is as `vaewatch feedback export` writes it. Only a column `label`, and `record` or `first`
and `last`, must be there. Of two marks of one incident or record the later one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.scoring.incidents.marks import MarkLine, read_table
from vaewatch.scoring.time.form import NO_TIME


@dataclass(frozen=True)
class Mark:
    """What somebody said of an incident or a record.

    Attributes:
        record: the id of the record; empty for an incident.
        kind: whose records an incident is made of; None in a file of before, or by hand.
        group: the entity or segment; empty for all, or for the segment of the records that have
            none.
        first, last: its span, in microseconds since 1970; None where it is not known.
        columns: the main reasons, the first one first, where they are given.
    """

    label: Label
    incident: str = ""
    record: str = ""
    kind: GroupKind | None = None
    group: str = ""
    first: int | None = None
    last: int | None = None
    columns: tuple[str, ...] = ()
    at: int = NO_TIME

    @property
    def target(self) -> tuple[object, ...]:
        """What it is about: of two marks with the same one, the later counts."""
        if self.record:
            return ("record", self.record)
        if self.incident:
            return (self.incident,)
        return (self.kind, self.group, self.first, self.last)


def read_marks(path: Path | str) -> tuple[Mark, ...]:
    """Read the marks of a file, in order of time; those that a later one replaces or withdraws are
    left out.

    Raises:
        SchemaError: it cannot be read, or a line is no mark.
    """
    table = read_table(path, others=True)
    if table.names and not ("record" in table.names or {"first", "last"} <= {*table.names}):
        raise SchemaError(
            f"the feedback '{path}' must have the columns label, and record or first and last, "
            "as vaewatch feedback export writes them."
        )
    marks = sorted(map(_mark, table.lines), key=lambda mark: mark.at)
    last = {mark.target: mark for mark in marks}.values()
    return tuple(mark for mark in last if mark.label is not Label.WITHDRAWN)


def _mark(line: MarkLine) -> Mark:
    return Mark(
        label=line.label,
        incident=line.incident,
        record=line.record,
        kind=line.kind,
        group=line.group,
        first=line.first,
        last=line.last,
        columns=line.columns,
        at=NO_TIME if line.at is None else line.at,
    )
