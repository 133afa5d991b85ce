"""CSV -> chunks -> records, and records -> CSV (RFC 4180)."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.files.chunks import BOM, Chunk, Header, Place, read_chunks
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.files.header import read_header, refuse_record, refuse_values
from vaewatch.scoring.files.records import Frames, Lines, Records, good_rows, share_of_text
from vaewatch.scoring.files.rejects import reject_bad_row, reject_problems
from vaewatch.scoring.files.rows import REPEATED, Rows, read_rows, split_chunk
from vaewatch.scoring.schema import Column, Schema

# the types that small integers are parsed as, each below a value that leaves room for larger ones
# than the fit data had
INTEGERS = {pl.Int16: 2**12, pl.Int32: 2**30}


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose header was read and fits the schema."""

    name: str
    schema: Schema
    layout: Header
    stream: BinaryIO
    rest: bytes
    format: str = "csv"

    @classmethod
    def open(cls, name: str, stream: BinaryIO, schema: Schema, delimiter: str | None) -> CsvFile:
        header, rest = read_header(stream, delimiter, schema.names)
        schema.require(list(header.names))
        return cls(name, schema, header, stream, rest)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.layout.names

    @property
    def header(self) -> bytes:
        return self.layout.raw

    @property
    def delimiter(self) -> str:
        return self.layout.delimiter

    @property
    def line_end(self) -> bytes:
        return self.layout.line_end

    def chunks(self, start: Place | None = None) -> Iterator[Chunk]:
        rest = self.rest
        if start is not None:
            self.stream.seek(start.offset)
            rest = b""
        at = start or Place(self.layout.size, self.layout.lines)
        return read_chunks(self.stream, self.layout, rest, at)

    def lean(self) -> CsvFile:
        return replace(self, stream=io.BytesIO(), rest=b"")

    def share(self, end: Place, size: int) -> float | None:
        return share_of_text(self.name, end, size)

    def parse(self, chunk: Chunk) -> Records:
        rows = split_chunk(chunk, self.layout)
        frame = typed_frame_of_rows(rows, self.layout, self.schema)
        table, problems = table_of_frame(self.schema, frame)
        rejects = [reject_bad_row(self.name, bad) for bad in rows.bad]
        bad = [problem.record for problem in problems]
        if bad:
            raw = {record: rows.row(record) for record in bad}
            rejects += reject_problems(self.name, problems, rows.lines.tolist(), raw)
            rejects.sort(key=lambda reject: reject.line)
        good = good_rows(len(rows), bad)
        return Records(table, good, tuple(rejects), rows, lambda: frame_of_rows(rows, self.layout))


def read_csv(stream: BinaryIO, delimiter: str | None = None) -> Frames:
    """Return the records of a file without a schema: every column is text, and an empty field is
    null.

    The first frame has the columns and no row.

    Raises:
        SchemaError: the first line is a record.
    """
    header, rest = read_header(stream, delimiter)
    refuse_record(header, rest)
    return Frames("csv", _frames(stream, header, rest), delimiter=header.delimiter)


def _frames(stream: BinaryIO, header: Header, rest: bytes) -> Iterator[Lines]:
    yield Lines(pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in header.names}))
    for rows in read_rows(stream, header, rest):
        frame = frame_of_rows(rows, header)
        refuse_values(frame, header, again=any(bad.code == REPEATED for bad in rows.bad))
        yield Lines(frame, rows.lines, rows.bad)


def frame_of_rows(
    rows: Rows, header: Header, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Return the fields of rows as text, an empty field as null; of all columns, or of some."""
    return _read_fields(rows, header, header.names if columns is None else columns, {})


def typed_frame_of_rows(rows: Rows, header: Header, schema: Schema) -> pl.DataFrame:
    """Return the schema's columns. Numbers are parsed at once, which takes half the time, and
    small integers as such, which takes a fifth less. A column in which a cell is not a number is
    left as text, and then so is each one with an empty cell.
    """
    plain = [column for column in schema.measured if column.format is None]
    numbers: dict[str, Any] = {column.name: pl.Float64 for column in plain}
    narrow = {column.name: _narrowest(column) for column in plain}
    for types in (narrow, numbers):
        try:
            return _read_fields(rows, header, schema.inputs, types)
        except pl.exceptions.ComputeError:
            continue  # polars stops at the first cell that is none, so this costs little
    frame = _read_fields(rows, header, schema.inputs, numbers, strict=False)
    odd = [name for name in numbers if frame[name].null_count()]
    return frame.with_columns(frame_of_rows(rows, header, odd))


def _narrowest(column: Column) -> Any:
    """Return the type that holds the column's values in the fit data with the fewest bytes."""
    if not column.integer or column.low is None or column.high is None:
        return pl.Float64
    largest = max(abs(column.low), abs(column.high))
    return next((kind for kind, limit in INTEGERS.items() if largest < limit), pl.Float64)


def _read_fields(
    rows: Rows,
    header: Header,
    columns: Collection[str],
    numeric: Mapping[str, Any],
    *,
    strict: bool = True,
) -> pl.DataFrame:
    """Unless `strict`, a cell that is not a number is null."""
    wanted = [name for name in header.names if name in columns]
    types = {name: numeric.get(name, pl.String) for name in header.names}
    if not len(rows):
        return pl.DataFrame(schema={name: types[name] for name in wanted})
    some = len(wanted) < len(header.names)  # without `columns`, polars takes a shorter way
    frame = pl.read_csv(
        as_text(rows.data),
        has_header=False,
        columns=[header.names.index(name) for name in wanted] if some else None,
        schema=types,
        separator=header.delimiter,
        ignore_errors=not strict,
    )
    if len(frame) != len(rows):
        raise AssertionError(f"polars found {len(frame)} rows where there are {len(rows)}")
    return frame


def as_text(data: bytes) -> io.BytesIO:
    """Return what polars reads as the text that it is: it takes bytes that begin as a zlib stream
    may, with `x^` say, for compressed ones. It skips a byte order mark.
    """
    return io.BytesIO(BOM + data if data.startswith(b"x") else data)


def csv_head(names: Sequence[str], delimiter: str) -> bytes:
    """Return the header row of these columns."""
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return empty.write_csv(separator=delimiter).encode()


def extend_head(
    header: bytes, added: Sequence[str], delimiter: str, line_end: bytes = b"\n"
) -> bytes:
    """Add the names of columns to a header as it came."""
    cells = [header, *(name.encode() for name in added)]
    return delimiter.encode().join(cells) + line_end


def csv_of_frame(frame: pl.DataFrame, delimiter: str) -> bytes:
    """Return the rows of a frame, without a header."""
    return frame.write_csv(include_header=False, separator=delimiter).encode()


def extend_rows(
    rows: Rows, added: pl.DataFrame, which: NDArray[np.int64], delimiter: str
) -> bytes:
    """Add to the rows `which`, (n,), as they came, the fields of their rows in `added`, before
    their line ends. Texts in `added` are quoted already.
    """
    line_end = rows.line_end
    if line_end is None or rows.data.startswith(BOM):  # which polars would drop
        return b"".join(_extend_one_by_one(rows, added[which], which, delimiter))
    joined = io.BytesIO()
    frame = pl.DataFrame([_whole_lines(rows.data), *added.get_columns()])
    frame = frame if len(which) == len(rows) else frame[which]
    _write_bare(frame, joined, separator=delimiter, line_terminator=line_end.decode())
    return joined.getvalue()


def _extend_one_by_one(
    rows: Rows, added: pl.DataFrame, which: NDArray[np.int64], delimiter: str
) -> Iterator[bytes]:
    """Do the same in twice the time, for rows that differ in their line ends, or quote one."""
    comma, fields = delimiter.encode(), _write_bare(added, separator=delimiter).encode()
    starts, bare, ends = rows.spans()
    for i, field in zip(which.tolist(), fields.split(b"\n"), strict=False):
        yield rows.data[starts[i] : bare[i]]
        yield comma
        yield field
        yield rows.data[bare[i] : ends[i]]


_write_bare = partial(pl.DataFrame.write_csv, include_header=False, quote_style="never")


def _whole_lines(data: bytes) -> pl.Series:
    """Return each line as the one field of a row, which works since no text here holds a
    NUL byte.
    """
    types, source = {"row": pl.String}, as_text(data)
    frame = pl.read_csv(source, has_header=False, separator="\0", quote_char=None, schema=types)
    return frame[
        "row"
    ].rechunk()  # or polars would write the output in as many writes as there are buffers
