"""a CSV file of marks -> its lines: what people said of incidents and records.

The file is as `vaewatch feedback export` writes it, or made in a spreadsheet. All that read one
read it here, so that the store and a fit never take the same file for different marks.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.scoring.time.form import is_number
from vaewatch.scoring.time.texts import moment_of_text

COLUMNS = (
    *("id", "label", "incident", "record", "kind", "group", "first", "last", "columns", "reason"),
    *("by", "at", "until"),
)
DELIMITERS = ",;\t"  # spreadsheets of many countries write the second one
BETWEEN = ";"  # the names of columns in one cell
MOST_CELL = 1 << 20  # characters
FORM = "2026-03-29T03:10:00Z"


@dataclass(frozen=True)
class MarkLine:
    """A line of the file; a text is empty, and a moment None, where it says nothing.

    Attributes:
        id: its own, or one of its content, so that the same line has the same id again.
        kind: whose records an incident is made of; None in a file of before, or by hand.
        first, last, at, until: in microseconds since 1970.
        where: its place, as errors name it.
    """

    id: str
    label: Label
    incident: str
    record: str
    kind: GroupKind | None
    group: str
    first: int | None
    last: int | None
    columns: tuple[str, ...]
    reason: str
    by: str
    at: int | None
    until: int | None
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class MarkTable:
    """The names of the columns that a file has, and its lines in order."""

    names: tuple[str, ...]
    lines: tuple[MarkLine, ...]


def read_table(path: Path | str, *, others: bool = False) -> MarkTable:
    """Read a file of marks. others: whether it may have more columns than a mark has.

    Raises:
        SchemaError: it cannot be read, or a line is no mark.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SchemaError(f"the feedback '{path}' must be readable: {why}.") from error
    if not text.strip():
        return MarkTable((), ())
    csv.field_size_limit(MOST_CELL)
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)  # names hold none of them
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    reader.fieldnames = names = _names(reader.fieldnames or (), path, others)
    lines = tuple(_line(cells, where) for cells, where in _cells(reader, path))
    return MarkTable(tuple(names), lines)


def _names(given: Sequence[str], path: Path | str, others: bool) -> list[str]:
    """Return the names of the columns."""
    names, what = [name.strip() for name in given], f"the feedback '{path}'"
    if "label" not in names:
        raise SchemaError(f"{what} must have a column 'label', as vaewatch feedback export does.")
    for name in names:
        if name in COLUMNS and names.count(name) > 1:
            raise SchemaError(f"{what} must have each column once, got '{name}' again.")
        if name not in COLUMNS and not others:
            known = ", ".join(COLUMNS)
            raise SchemaError(f"{what} has an unknown column '{name}'. Known: {known}.")
    return names


def _cells(reader: csv.DictReader[str], path: Path | str) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the cells of each line that has any, and where it ends."""
    lines: Iterator[Any] = iter(reader)
    while True:
        try:
            row = next(lines, None)
        except csv.Error as error:
            where = f"line {reader.line_num} of '{path}'"
            raise SchemaError(
                f"feedback must be CSV whose quotes are closed: {error} ({where})."
            ) from None
        if row is None:
            return
        where = f"line {reader.line_num} of '{path}'"
        if None in row:  # where DictReader keeps what has no name
            raise SchemaError(
                f"a line must have no more cells than the header, {len(reader.fieldnames or ())}: "
                f"put text with '{reader.reader.dialect.delimiter}' between quotes ({where})."
            )
        cells = {name: str(row.get(name) or "").strip() for name in COLUMNS}
        if any(cells.values()):
            yield cells, where


def _line(cells: Mapping[str, str], where: str) -> MarkLine:
    if any("\0" in cell for cell in cells.values()):
        raise SchemaError(f"feedback must be text without NUL ({where}).")
    if cells["label"] not in list(Label):
        raise SchemaError(f"a label must be {', '.join(Label)}, got another text ({where}).")
    if cells["kind"] and cells["kind"] not in list(GroupKind):
        raise SchemaError(
            f"the kind of a group must be {', '.join(GroupKind)}, or empty, got another text "
            f"({where})."
        )
    first, last, at, until = (
        _moment(cells[name], name, where) for name in ("first", "last", "at", "until")
    )
    timed = first is not None and last is not None
    if not (cells["incident"] or cells["record"] or timed):
        raise SchemaError(
            f"feedback must name an incident, a record, or first and last ({where})."
        )
    if first is not None and last is not None and first > last:
        raise SchemaError(f"'first' must not be after 'last' ({where}).")
    return MarkLine(
        id=cells["id"] or _id_of(cells),
        label=Label(cells["label"]),
        incident=cells["incident"],
        record=cells["record"],
        kind=GroupKind(cells["kind"]) if cells["kind"] else None,
        group=cells["group"],
        first=first,
        last=last,
        columns=tuple(filter(None, map(str.strip, cells["columns"].split(BETWEEN)))),
        reason=cells["reason"],
        by=cells["by"],
        at=at,
        until=until,
        where=where,
    )


def _moment(text: str, name: str, where: str) -> int | None:
    """Return the moment of a text; None if there is none. A number is refused: incidents of
    records without a time count the records, and nothing tells that from seconds.
    """
    if not text:
        return None
    found = moment_of_text(text)
    if found is None:
        got = (
            "a number, which does not say whether it counts seconds or records"
            if is_number(text)
            else "another text"
        )
        raise SchemaError(f"'{name}' must be a time such as {FORM}, got {got} ({where}).")
    return found[0]


def _id_of(cells: Mapping[str, str]) -> str:
    """Return the id of a line without one; that of a file of before has no kind."""
    given = {name: cell for name, cell in cells.items() if cell or name != "kind"}
    content = json.dumps(given, sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=12).hexdigest()
