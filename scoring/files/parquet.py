"""Parquet -> slices of rows -> records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.files.records import Records, good_rows
from vaewatch.scoring.files.rejects import reject_problems
from vaewatch.scoring.schema import Schema

SLICE_ROWS = 32_768


@dataclass(frozen=True)
class Slice:
    """Rows of a file from `start` up to `end`; nothing is read before a worker takes it."""

    start: int
    end: Place


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; a row stands for a line, from 1."""

    name: str
    schema: Schema
    columns: tuple[str, ...]
    rows: int
    to: str = "parquet"
    header: bytes = b""
    delimiter: str = ","
    line_end: bytes = b"\n"

    @classmethod
    def open(cls, name: str, schema: Schema) -> ParquetFile:
        frame = pl.scan_parquet(name, glob=False)
        columns = tuple(frame.collect_schema().names())
        schema.require(list(columns))
        return cls(name, schema, columns, int(frame.select(pl.len()).collect().item()))

    def pieces(self, start: Place | None = None) -> Iterator[Slice]:
        for first in range(start.offset if start else 0, self.rows, SLICE_ROWS):
            last = min(first + SLICE_ROWS, self.rows)
            yield Slice(first, Place(last, last))

    def lean(self) -> ParquetFile:
        return self

    def share(self, end: Place, size: int) -> float | None:
        return end.offset / self.rows

    def parse(self, piece: Slice) -> Records:
        rows = piece.end.offset - piece.start
        frame = pl.scan_parquet(self.name, glob=False).slice(piece.start, rows).collect()
        table, problems = table_of_frame(self.schema, frame)
        bad = sorted({problem.record for problem in problems})
        lines = range(piece.start + 1, piece.end.offset + 1)
        raw = {i: frame[i].write_ndjson().rstrip().encode() for i in bad}
        rejects = reject_problems(self.name, problems, lines, raw)
        return Records(table, good_rows(len(frame), bad), tuple(rejects), None, lambda: frame)
