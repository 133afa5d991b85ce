"""Parquet -> chunks of rows -> records, and records -> Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.frames import stored, table_of_frame
from vaewatch.scoring.files.records import Frames, Lines, Records, good_rows
from vaewatch.scoring.files.rejects import reject_problems, with_texts
from vaewatch.scoring.schema import Schema

CHUNK_ROWS = 32_768
GROUP_ROWS = 131_072  # rows of a row group that is written


@dataclass(frozen=True)
class RowSpan:
    """A chunk: the rows of a file from `start` up to `end`. A worker reads them when it takes the
    chunk.
    """

    start: int
    end: Place


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; a row stands for a line, from 1."""

    name: str
    schema: Schema
    columns: tuple[str, ...]
    rows: int
    format: str = "parquet"
    header: bytes = b""
    delimiter: str = ","
    line_end: bytes = b"\n"

    @classmethod
    def open(cls, name: str, schema: Schema) -> ParquetFile:
        frame = pl.scan_parquet(name, glob=False)
        columns = tuple(frame.collect_schema().names())
        schema.require(list(columns))
        return cls(name, schema, columns, _count(frame))

    def chunks(self, start: Place | None = None) -> Iterator[RowSpan]:
        for first in range(start.offset if start else 0, self.rows, CHUNK_ROWS):
            last = min(first + CHUNK_ROWS, self.rows)
            yield RowSpan(first, Place(last, last))

    def lean(self) -> ParquetFile:
        return self

    def share(self, end: Place, size: int) -> float | None:
        return end.offset / self.rows

    def parse(self, chunk: RowSpan) -> Records:
        rows = chunk.end.offset - chunk.start
        try:
            frame = pl.scan_parquet(self.name, glob=False).slice(chunk.start, rows).collect()
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise SchemaError(
                f"'{self.name}' must be a Parquet file that can be read: {reason}."
            ) from error
        table, problems = table_of_frame(self.schema, stored(frame))
        bad = sorted({problem.record for problem in problems})
        lines = range(chunk.start + 1, chunk.end.offset + 1)
        raw = {i: _json_of(frame[i]) for i in bad}
        rejects = reject_problems(self.name, problems, lines, raw)
        return Records(table, good_rows(len(frame), bad), tuple(rejects), None, lambda: frame)


def _json_of(row: pl.DataFrame) -> bytes:
    """Return one row as a JSON object, its bytes as base64: polars cannot write these."""
    texts = with_texts(row, lambda dtype: "Binary" in repr(dtype))
    return texts.write_ndjson().rstrip().encode()


def _count(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


def read_parquet(name: str) -> Frames:
    """Return the records of a file without a schema, in its own types. The first frame has
    no row.
    """
    frame = pl.scan_parquet(name, glob=False)
    return Frames("parquet", _frames(frame), index_of(name))


def _frames(frame: pl.LazyFrame) -> Iterator[Lines]:
    yield Lines(stored(frame.head(0).collect()))
    for first in range(0, _count(frame), 2 * CHUNK_ROWS):
        some = frame.slice(first, 2 * CHUNK_ROWS).collect()
        yield Lines(stored(some), first + 1 + np.arange(len(some)))


def index_of(name: str) -> tuple[str, ...]:
    """Return the columns in which pandas stored a table's index; its metadata name them."""
    try:
        meta = msgspec.json.decode(pl.read_parquet_metadata(name).get("pandas", "{}"), type=_Meta)
    except msgspec.MsgspecError:
        return ()
    return tuple(column for column in meta.index_columns if isinstance(column, str))


class _Meta(msgspec.Struct):
    """What pandas writes of a table. An index that counts is an object, and no column."""

    index_columns: list[str | dict[str, Any]] = []


def parquet_of_frame(frame: pl.DataFrame) -> bytes:
    """Return a whole file, which `join_parquet` can join with others."""
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def join_parquet(parts: list[Path], target: Path) -> None:
    """Write the rows of several files to one.

    Raises:
        polars.exceptions.PolarsError: they differ in the type of a column.
    """
    pl.scan_parquet(parts, glob=False).sink_parquet(target, row_group_size=GROUP_ROWS)
