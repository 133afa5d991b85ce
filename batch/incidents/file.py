"""incidents -> the bytes of a file: NDJSON with all of each, CSV or Parquet with a row of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from vaewatch.batch.incidents.collector import reports_of
from vaewatch.batch.writer import Output, open_output
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.files.packing import pack, packing_of
from vaewatch.scoring.files.parquet import parquet_of_frame
from vaewatch.scoring.files.source import format_to_write
from vaewatch.scoring.incidents.described import ColumnShare, IncidentReport
from vaewatch.scoring.incidents.stream import Stream

AT_ONCE = 10_000
MOST = 0.5  # of a column's alarms that have one direction, to name it


def format_of_incidents(name: str) -> str:
    """Return the format of a file of incidents, by its name.

    Raises:
        SettingError: it has none.
    """
    to = format_to_write(name)
    if to is None:
        raise SettingError(
            f"--incidents must be a file that ends in .ndjson, .csv or .parquet, got '{name}'."
        )
    return to


def write_incidents(stream: Stream, target: str, output: Output) -> None:
    """Write the incidents of a stream to an output, which is then to be committed."""
    for data in encoded(reports_of(stream), target, timed=stream.rules.timed):
        output.write(data)
    output.sync()


def save_incidents(stream: Stream, target: str) -> None:
    """Write the incidents of a stream to a file, whole or not at all."""
    output = open_output(target, format_of_incidents(target), None)
    try:
        write_incidents(stream, target, output)
        output.commit()
    finally:
        output.close(keep=False)


def encoded(reports: Iterable[IncidentReport], name: str, *, timed: bool) -> Iterator[bytes]:
    """Yield the bytes of a file, some incidents at a time."""
    to, reports, first = format_of_incidents(name), iter(reports), True
    while (some := list(islice(reports, AT_ONCE))) or first:
        if to == "ndjson":
            lines = [msgspec.json.encode(report) + b"\n" for report in some]
            yield pack(b"".join(lines), packing_of(name))
        elif to == "csv":
            text = _frame(some, timed=timed).write_csv(include_header=first)
            yield pack(text.encode(), packing_of(name))
        else:
            yield parquet_of_frame(_frame(some, timed=timed))
        first = False


def _frame(reports: list[IncidentReport], *, timed: bool) -> pl.DataFrame:
    moment: Any = pl.String if timed else pl.Int64
    types: dict[str, Any] = {
        "id": pl.String,
        "group_kind": pl.String,
        "group": pl.String,
        "first": moment,
        "last": moment,
        "ongoing": pl.Boolean,
        "records": pl.Int64,
        "alarms": pl.Int64,
        "expected": pl.Float64,
        "chance": pl.Float64,
        "peak_severity": pl.Float64,
        "columns": pl.String,
        "record": pl.String,
    }
    return pl.DataFrame([_row(report) for report in reports], schema=types, orient="row")


def _row(report: IncidentReport) -> tuple[Any, ...]:
    return (
        report.id,
        str(report.group.kind),
        report.group.name,
        report.first,
        report.last,
        report.ongoing,
        report.records,
        report.alarms,
        report.expected,
        report.chance,
        report.peak_severity,
        "; ".join(map(_column, report.columns)),
        report.examples[0].record if report.examples else None,
    )


def _column(column: ColumnShare) -> str:
    """Say how often a column is a main reason, and in which direction: `amount above 93%`."""
    way = max(("above", column.above), ("below", column.below), key=lambda pair: pair[1])
    named = f" {way[0]}" if way[1] > MOST * column.share else ""
    return f"{column.name}{named} {column.share:.0%}"
