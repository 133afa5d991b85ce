"""marks <-> CSV: what `vaewatch train --feedback` reads, and people in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.marks import BETWEEN, COLUMNS, MarkLine
from vaewatch.service.incidents.ledger import label_of
from vaewatch.service.incidents.mark import Mark
from vaewatch.service.store.tables import ids, incidents, marks
from vaewatch.service.store.upsert import Row, insert_new

AT_A_TIME = 500  # ids of one query


def csv_of(found: Iterable[Mark]) -> str:
    """Write marks, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for mark in found:
        cells = {name: getattr(mark, name) for name in COLUMNS}
        cells["columns"] = f"{BETWEEN} ".join(mark.columns)
        writer.writerow("" if cell is None else cell for cell in cells.values())
    return text.getvalue()


def rows_of(lines: Iterable[MarkLine], now: int, by: str | None = None) -> Iterator[Row]:
    """Return lines as the store keeps marks. `by`: who, where a line does not say it.

    Raises:
        SchemaError: two lines have one id and are not the same.
    """
    found: dict[str, MarkLine] = {}
    for line in lines:
        if found.setdefault(line.id, line) != line:
            raise SchemaError(
                f"an id must be that of one line, got '{line.id}' again ({line.where})."
            )
        yield {
            "id": line.id,
            "at": now if line.at is None else line.at,
            "by": line.by or by,
            "label": line.label,
            "incident": line.incident or None,
            "record": line.record or None,
            "reason": line.reason,
            "until": line.until,
            "pattern": None,
            "name": line.group or None,
            "first": line.first,
            "last": line.last,
            "columns": json.dumps(line.columns),
            "kind": None if line.kind is None else line.kind.value,
        }


def take(connection: Connection, rows: Iterable[Row]) -> int:
    """Keep marks that are not there yet, the oldest first; returns how many were not. Labels of
    incidents follow, and no pattern is made.
    """
    new = 0
    for row in rows:
        if not insert_new(connection, marks, row):
            continue
        new += 1
        if row["incident"] is not None:
            _follow(connection, row["incident"])
    return new


def unknown(connection: Connection, rows: Iterable[Row]) -> int:
    """Return how many marks name an incident that the store does not have."""
    named = [row["incident"] for row in rows if row["incident"] is not None]
    there = select(ids.c.id).where(ids.c.id.in_(bindparam("some", expanding=True)))
    known = {
        id
        for start in range(0, len(named), AT_A_TIME)
        for id in connection.execute(there, {"some": named[start : start + AT_A_TIME]}).scalars()
    }
    return sum(id not in known for id in named)


def _follow(connection: Connection, id: str) -> None:
    key: Any = connection.execute(select(ids.c.incident).where(ids.c.id == id)).scalar()
    if key is not None:
        now = update(incidents).where(incidents.c.key == key)
        connection.execute(now.values(label=label_of(connection, key)))
