"""marks <-> CSV: what `vaewatch train --feedback` reads, and people in a spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import (
    BETWEEN,
    Label,
    columns_in,
    delimiter_of,
    kind_in,
)
from vaewatch.service.http.problems import Malformed
from vaewatch.service.incidents.ledger import label_of
from vaewatch.service.incidents.mark import Mark
from vaewatch.service.store.moments import moment_of
from vaewatch.service.store.tables import ids, incidents, marks
from vaewatch.service.store.upsert import Row, insert_new

COLUMNS = (
    *("id", "label", "incident", "record", "kind", "group", "first", "last", "columns", "reason"),
    *("by", "at", "until"),
)
MOST_CELL = 1 << 20  # characters
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


def rows_of(text: str, now: int, by: str | None = None) -> Iterator[Row]:
    """Read marks as the store keeps them. Where a line has no id it gets one of its content, so
    that the same file changes nothing the second time. `by`: who, where a line does not say it.

    Raises:
        SchemaError: a line is no mark.
    """
    csv.field_size_limit(MOST_CELL)
    text = text.removeprefix("\ufeff")
    delimiter = delimiter_of(text.partition("\n")[0])
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    reader.fieldnames = given = _names(reader.fieldnames or ())
    lines, found = iter(reader), dict[str, Row]()
    while (cells := _next(lines, reader)) is not None:
        where = f"line {reader.line_num}"
        if None in cells:  # where DictReader keeps what has no name
            raise SchemaError(
                f"a line must have no more cells than the header, {len(given)}: put text with "
                f"'{delimiter}' between quotes ({where})."
            )
        named = {name: str(cells.get(name) or "").strip() for name in COLUMNS}
        if not any(named.values()):
            continue
        row = _row(named, where, now, by)
        if found.setdefault(row["id"], row) != row:
            raise SchemaError(
                f"an id must be that of one line, got '{row['id']}' again ({where})."
            )
        yield row


def _names(given: Sequence[str]) -> list[str]:
    """Return the names of the columns."""
    names = [name.strip() for name in given]
    if "label" not in names:
        raise SchemaError("feedback must have a column 'label', as vaewatch feedback export does.")
    for name in names:
        if name not in COLUMNS:
            raise SchemaError(
                f"feedback has an unknown column '{name}'. Known: {', '.join(COLUMNS)}."
            )
        if names.count(name) > 1:
            raise SchemaError(f"feedback must have each column once, got '{name}' again.")
    return names


def _next(lines: Iterator[Any], reader: csv.DictReader[str]) -> Any:
    """Return the next line; None at the end."""
    try:
        return next(lines, None)
    except csv.Error as error:
        where = f"line {reader.line_num}"
        raise SchemaError(
            f"feedback must be CSV whose quotes are closed: {error} ({where})."
        ) from None


def _row(cells: dict[str, str], where: str, now: int, by: str | None) -> Row:
    if cells["label"] not in list(Label):
        raise SchemaError(f"a label must be {', '.join(Label)}, got another text ({where}).")
    kind = kind_in(cells["kind"], f"({where})")
    timed = cells["first"] and cells["last"]
    if not (cells["incident"] or cells["record"] or timed):
        raise SchemaError(
            f"feedback must name an incident, a record, or first and last ({where})."
        )
    if any("\0" in cell for cell in cells.values()):
        raise SchemaError(f"feedback must be text without NUL ({where}).")
    try:
        moments = {
            name: moment_of(cells[name], name) if cells[name] else None
            for name in ("first", "last", "until", "at")
        }
    except Malformed as error:
        raise SchemaError(f"{str(error).rstrip('.')} ({where}).") from None
    if timed and (moments["first"] or 0) > (moments["last"] or 0):
        raise SchemaError(f"'first' must not be after 'last' ({where}).")
    return {
        "id": cells["id"] or _id_of(cells),
        "at": moments["at"] or now,
        "by": cells["by"] or by,
        "label": cells["label"],
        "incident": cells["incident"] or None,
        "record": cells["record"] or None,
        "reason": cells["reason"],
        "until": moments["until"],
        "pattern": None,
        "name": cells["group"] or None,
        "first": moments["first"],
        "last": moments["last"],
        "columns": json.dumps(columns_in(cells["columns"])),
        "kind": None if kind is None else kind.value,
    }


def _id_of(cells: dict[str, str]) -> str:
    """Return the id of a line without one; that of a file of before has no kind."""
    given = {name: cell for name, cell in cells.items() if cell or name != "kind"}
    content = json.dumps(given, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=12).hexdigest()


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
