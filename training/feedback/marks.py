"""a CSV file of feedback -> marks: what people said of incidents and records.

The file is as `vaewatch feedback export` writes it. Only a column `label`, and `record` or `first`
and `last`, must be there. Of two marks of one incident or record the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import (
    GroupKind,
    Label,
    columns_in,
    delimiter_of,
    kind_in,
)
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.texts import moment_of_text

COLUMNS = "label", "incident", "record", "kind", "group", "first", "last", "columns", "at"
FORM = "2026-03-29T03:10:00Z"


@dataclass(frozen=True)
class Mark:
    """What somebody said of an incident or a record.

    Attributes:
        record: the id of the record; empty for an incident.
        kind: whose records an incident is made of; None in a file of before, or by hand.
        group: the entity or segment; empty for all, or for the segment of the records that have
            none.
        first, last: its span, in microseconds since 1970; None where it is not known, or where the
            incident counts records, whose numbers mean nothing in another file.
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
    try:
        content = Path(path).read_bytes()
        separator = delimiter_of(content.partition(b"\n")[0].decode("utf-8", "replace"))
        frame = pl.read_csv(content, infer_schema=False, separator=separator)
    except pl.exceptions.NoDataError:
        return ()
    except OSError as error:
        raise SchemaError(f"the feedback '{path}' must be readable: {error.strerror}.") from error
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"the feedback '{path}' must be CSV: {one_line(error)}.") from error
    frame = frame.rename(str.strip)
    _require_columns(frame.columns, path)
    for name in COLUMNS:
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit("").alias(name))
    marks = sorted(_marks(frame.select(COLUMNS), path), key=lambda mark: mark.at)
    last = {mark.target: mark for mark in marks}.values()
    return tuple(mark for mark in last if mark.label is not Label.WITHDRAWN)


def _require_columns(columns: Sequence[str], path: Path | str) -> None:
    if "label" not in columns or not ({"record"} & {*columns} or {"first", "last"} <= {*columns}):
        raise SchemaError(
            f"the feedback '{path}' must have the columns label, and record or first and last, "
            "as vaewatch feedback export writes them."
        )


def _marks(frame: pl.DataFrame, path: Path | str) -> Iterator[Mark]:
    for line, row in enumerate(frame.iter_rows(named=True), 2):
        cells = {name: (cell or "").strip() for name, cell in row.items()}
        try:
            label = Label(cells["label"])
        except ValueError:
            known = ", ".join(Label)
            raise SchemaError(
                f"a label must be {known}, got another text in line {line} of '{path}'."
            ) from None
        place = f"line {line} of '{path}'"
        kind = kind_in(cells["kind"], f"in {place}")
        first, last, at = (_moment(cells[name], name, place) for name in ("first", "last", "at"))
        yield Mark(
            label=label,
            incident=cells["incident"],
            record=cells["record"],
            kind=kind,
            group=cells["group"],
            first=first,
            last=last,
            columns=columns_in(cells["columns"]),
            at=NO_TIME if at is None else at,
        )


def _moment(text: str, name: str, place: str) -> int | None:
    """Return the moment of a text; None if there is none, or the number of a record."""
    if not text or text.isdecimal():
        return None
    found = moment_of_text(text)
    if found is None:
        raise SchemaError(f"'{name}' must be a time such as {FORM}, got another text in {place}.")
    return found[0]
