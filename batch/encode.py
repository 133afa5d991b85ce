"""records and their verdicts -> bytes of the output.

Where the output has the input's format and columns, each row goes through as it came and the added
fields follow it; only otherwise are its cells written anew.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray

from vaewatch.batch.job import Job
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import BOM
from vaewatch.scoring.files.frames import as_booleans, as_numbers
from vaewatch.scoring.files.json_lines import json_lines, pick
from vaewatch.scoring.files.records import PACKED, Records, Source
from vaewatch.scoring.files.rows import Block
from vaewatch.scoring.files.source import format_named
from vaewatch.scoring.files.verdicts import ADDED, EXPLAINED, frame_of_verdicts
from vaewatch.scoring.schema import Kind, Schema
from vaewatch.scoring.scorer import Verdicts


@dataclass(frozen=True)
class Encoder:
    """How the output is written: like the first file, where nothing else is asked for.

    chosen: somebody asked for these columns alone.
    verbatim: the header of those files whose rows go through as they came; None if none does.
    explained: the parts of the scores come too.
    packing: .gz, .zst or nothing; chunks are packed one by one, and stand one after the other.
    """

    to: str
    columns: tuple[str, ...]
    chosen: bool
    verbatim: bytes | None
    delimiter: str
    line_end: bytes
    explained: bool
    packing: str
    schema: Schema
    version: str

    @classmethod
    def of(cls, job: Job, first: Source, schema: Schema, version: str) -> Encoder:
        to = job.to or format_named(job.out) or first.to
        _check_columns(job, first)
        suffix = Path(job.out).suffix.lower()
        return cls(
            to=to,
            columns=job.columns or first.columns,
            chosen=job.columns is not None,
            verbatim=first.header if to == first.to and job.columns is None else None,
            delimiter=first.delimiter,
            line_end=first.line_end,
            explained=bool(job.explain),
            packing=suffix if suffix in PACKED else "",
            schema=schema,
            version=version,
        )

    def head(self) -> bytes:
        """What stands before the first record."""
        if self.to != "csv":
            return b""
        comma, names = self.delimiter.encode(), self.columns
        if self.verbatim is not None:
            cells = [self.verbatim, *(name.encode() for name in self._added)]
            return self._pack(comma.join(cells) + self.line_end)
        empty = pl.DataFrame(schema=dict.fromkeys((*names, *self._added), pl.String))
        return self._pack(empty.write_csv(separator=self.delimiter).encode())

    def encode(
        self, source: Source, records: Records, verdicts: Verdicts, rows: NDArray[np.int64]
    ) -> bytes:
        """These rows of the records; nothing at all if there are none."""
        if not len(rows):
            return b""
        as_it_came = (source.to, source.header) == (self.to, self.verbatim)
        picked = self.chosen and source.to == self.to == "ndjson"
        if records.block is not None and (as_it_came or picked):
            return self._pack(self._append(records.block, verdicts, rows))
        added = frame_of_verdicts(verdicts, self.version)
        frame = pl.concat([self._cells(records.frame()), added], how="horizontal")[rows]
        if self.to == "parquet":
            return _parquet(frame)
        if self.to == "ndjson":
            return self._pack(json_lines(frame, self.schema))
        return self._pack(frame.write_csv(include_header=False, separator=self.delimiter).encode())

    def _append(self, block: Block, verdicts: Verdicts, rows: NDArray[np.int64]) -> bytes:
        if self.to == "ndjson":
            added = frame_of_verdicts(verdicts, self.version)
            columns = self.columns if self.chosen else None
            return b"".join(_append_json(block, added, rows, columns))
        quote = partial(_quoted, delimiter=self.delimiter)
        added = frame_of_verdicts(verdicts, self.version, quote)
        return _append_csv(block, added, rows, self.delimiter)

    def empty(self) -> bytes:
        """A Parquet file without rows."""
        frame = pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
        added = pl.DataFrame(schema=self._added)
        return _parquet(pl.concat([self._cells(frame), added], how="horizontal"))

    @property
    def _added(self) -> dict[str, Any]:
        return EXPLAINED if self.explained else ADDED

    def _cells(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns to keep, with the schema's types where the format has types and the cells
        are text; only the text of numbers stays for JSON.
        """
        frame = frame.select(self.columns)
        if self.to == "csv":
            return frame
        typed = [
            _typed(frame[column.name], column.kind, self.schema.null_tokens)
            for column in self.schema.columns
            if column.name in frame.columns
            and frame[column.name].dtype == pl.String
            and not (self.to == "ndjson" and column.kind is Kind.NUMERIC)
        ]
        return frame.with_columns(typed)

    def _pack(self, data: bytes) -> bytes:
        if self.packing == ".gz":
            return gzip.compress(data, 6, mtime=0)
        return zstandard.compress(data) if self.packing == ".zst" else data


def _check_columns(job: Job, first: Source) -> None:
    for name in job.columns or ():
        if name not in first.columns:
            raise SchemaError(
                f"--columns: '{name}' must be a column of '{first.name}', got "
                f"{', '.join(first.columns[:20])}."
            )


def _append_csv(
    block: Block, added: pl.DataFrame, rows: NDArray[np.int64], delimiter: str
) -> bytes:
    """These rows as they came, each with its verdict's fields before its line end. The texts among
    these are quoted already.
    """
    line_end = block.line_end
    if line_end is None or block.rows.startswith(BOM):  # which polars would drop
        return b"".join(_append_one_by_one(block, added[rows], rows, delimiter))
    joined = io.BytesIO()
    frame = pl.DataFrame([_lines(block.rows), *added.get_columns()])
    frame = frame if len(rows) == len(block) else frame[rows]
    _write_bare(frame, joined, separator=delimiter, line_terminator=line_end.decode())
    return joined.getvalue()


def _append_one_by_one(
    block: Block, added: pl.DataFrame, rows: NDArray[np.int64], delimiter: str
) -> Iterator[bytes]:
    """The same in twice the time, for rows that differ in their line ends, or quote one."""
    comma, fields = delimiter.encode(), _write_bare(added, separator=delimiter).encode()
    starts, bare, ends = _spans(block)
    for i, field in zip(rows.tolist(), fields.split(b"\n"), strict=False):
        yield block.rows[starts[i] : bare[i]]
        yield comma
        yield field
        yield block.rows[bare[i] : ends[i]]


_write_bare = partial(pl.DataFrame.write_csv, include_header=False, quote_style="never")


def _quoted(text: str, delimiter: str) -> str:
    """As polars quotes what it writes; only, to quote these few is less than to look at all."""
    if text and not any(mark in text for mark in (delimiter, '"', "\r", "\n")):
        return text
    return '"' + text.replace('"', '""') + '"'


def _lines(data: bytes) -> pl.Series:
    """Whole lines, each the one field of a row, since no text here holds a NUL byte."""
    types, source = {"row": pl.String}, io.BytesIO(data)
    frame = pl.read_csv(source, has_header=False, separator="\0", quote_char=None, schema=types)
    return frame["row"].rechunk()  # else the output is written in as many pieces


def _append_json(
    block: Block, added: pl.DataFrame, rows: NDArray[np.int64], columns: tuple[str, ...] | None
) -> Iterator[bytes]:
    """Each object as it came, or some of its members, with the verdict's before its brace."""
    fields = added.write_ndjson().encode().split(b"\n")
    starts, bare, _ = _spans(block)
    for i in rows.tolist():
        kept = block.rows[starts[i] : bare[i]].rstrip()
        kept = (kept if columns is None else pick(kept, columns))[:-1]
        yield kept
        yield b"" if kept.strip() == b"{" else b","
        yield fields[i][1:]
        yield b"\n"


def _spans(block: Block) -> tuple[list[int], list[int], list[int]]:
    """Where each row starts, where it ends before its line end, and after it."""
    ends = block.ends.tolist()
    return [0, *ends[:-1]], block.bare_ends().tolist(), ends


def _typed(series: pl.Series, kind: Kind, null_tokens: tuple[str, ...]) -> pl.Series:
    if kind is Kind.NUMERIC:
        return pl.Series(series.name, as_numbers(series, null_tokens)[0], nan_to_null=True)
    return as_booleans(series, null_tokens)[0] if kind is Kind.BOOLEAN else series


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()
