"""records and their verdicts -> bytes of the output; rejects -> bytes of the rejects file.

If the output has the input's format and columns, each row passes through as it came and the added
fields follow it. Only otherwise are its cells written anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.batch.added import added_types, frame_of_verdicts
from vaewatch.batch.job import Job
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import quoted
from vaewatch.scoring.files.csv import csv_head, csv_of_frame, extend_head, extend_rows
from vaewatch.scoring.files.frames import as_booleans, as_numbers, nulls_of, stored
from vaewatch.scoring.files.json.ndjson import extend_lines, ndjson_of_frame
from vaewatch.scoring.files.packing import pack, packing_of
from vaewatch.scoring.files.parquet import parquet_of_frame
from vaewatch.scoring.files.records import Records, Source
from vaewatch.scoring.files.rows import Rows
from vaewatch.scoring.files.source import format_to_write
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.spelling.likeness import meant
from vaewatch.scoring.verdicts import Verdicts


@dataclass(frozen=True)
class Encoder:
    """How the output is written: like the first file, unless something else was asked for.

    chosen: whether these columns alone were asked for.
    verbatim: the header of the files whose rows pass through as they came; None if none do.
    explained: whether the parts of the scores are written too.
    windowed: whether records are judged with those before them.
    packing: .gz, .zst or empty; chunks are packed one by one, and follow each other.
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
    prefix: str = ""
    windowed: bool = False

    @classmethod
    def of(cls, job: Job, first: Source, artifact: Artifact) -> Encoder:
        to = job.to or format_to_write(job.out) or first.format
        _check_columns(job, first)
        return cls(
            to=to,
            columns=job.columns or first.columns,
            chosen=job.columns is not None,
            verbatim=first.header if to == first.format and job.columns is None else None,
            delimiter=first.delimiter,
            line_end=first.line_end,
            explained=bool(job.explain),
            packing=packing_of(job.out),
            schema=artifact.schema,
            version=artifact.version,
            prefix=job.prefix,
            windowed=artifact.window is not None,
        )

    def require_writable_types(self, source: Source) -> None:
        """Refuse a Parquet file with a column that the output's format cannot hold."""
        if source.format != "parquet" or self.to == "parquet":
            return
        types = pl.scan_parquet(source.name, glob=False).collect_schema()
        for name in self.columns:
            if name in types and not _fits(types[name], self.to):
                raise SchemaError(
                    f"column '{name}' of '{source.name}' must be numbers, text, booleans or times "
                    f"to be written as {self.to}, got {types[name]}. Leave it out with --columns, "
                    "or write --to parquet."
                )

    def head(self) -> bytes:
        """What stands before the first record."""
        if self.to != "csv":
            return b""
        if self.verbatim is None:
            return self._pack(csv_head((*self.columns, *self._added), self.delimiter))
        return self._pack(
            extend_head(self.verbatim, list(self._added), self.delimiter, self.line_end)
        )

    def encode(
        self, source: Source, records: Records, verdicts: Verdicts, which: NDArray[np.int64]
    ) -> bytes:
        """The records `which`, (n,), with their verdicts; empty if there are none."""
        if not len(which):
            return b""
        as_it_came = (source.format, source.header) == (self.to, self.verbatim)
        picked = self.chosen and source.format == self.to == "ndjson"
        if records.rows is not None and (as_it_came or picked):
            return self._pack(self._extend(records.rows, verdicts, which))
        added = self._verdicts(verdicts)
        frame = pl.concat([self._cells(records.frame()), added], how="horizontal")[which]
        if self.to == "parquet":
            return parquet_of_frame(frame)
        if self.to == "ndjson":
            return self._pack(ndjson_of_frame(frame, self.schema))
        return self._pack(csv_of_frame(frame, self.delimiter))

    def _extend(self, rows: Rows, verdicts: Verdicts, which: NDArray[np.int64]) -> bytes:
        """Add the fields to the rows as they came."""
        if self.to == "ndjson":
            added = self._verdicts(verdicts)
            columns = self.columns if self.chosen else None
            return b"".join(extend_lines(rows, added, which, columns))
        # to quote these few texts takes less time than to let polars look at every cell
        quote = partial(quoted, delimiter=self.delimiter)
        added = self._kept(frame_of_verdicts(verdicts, self.version, quote))
        return extend_rows(rows, added, which, self.delimiter)

    def empty(self) -> bytes:
        """A Parquet file without rows."""
        frame = pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
        added = pl.DataFrame(schema=self._added)
        return parquet_of_frame(pl.concat([self._cells(frame), added], how="horizontal"))

    @property
    def _added(self) -> dict[str, Any]:
        return added_types(
            self.schema, self.prefix, explained=self.explained, windowed=self.windowed
        )

    def _verdicts(self, verdicts: Verdicts) -> pl.DataFrame:
        frame = self._kept(frame_of_verdicts(verdicts, self.version))
        return frame.rename(lambda name: f"{self.prefix}{name}") if self.prefix else frame

    def _kept(self, added: pl.DataFrame) -> pl.DataFrame:
        """Leave out the segment where a column of the input is named as it would be."""
        return added.drop("segment") if f"{self.prefix}segment" == self.schema.segment else added

    def _cells(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns to keep. If the format has types and the cells are text, they get the
        schema's types; only numbers stay text for NDJSON, which spells them as they came.
        """
        frame = frame.select(self.columns)
        if self.to != "parquet":
            frame = stored(frame)
        if self.to == "csv":
            return frame
        typed = [
            _typed(frame[column.name], column, nulls_of(self.schema, column))
            for column in self.schema.columns
            if column.name in frame.columns
            and frame[column.name].dtype == pl.String
            and not (self.to == "ndjson" and column.kind is Kind.NUMERIC)
        ]
        return frame.with_columns(typed)

    def _pack(self, data: bytes) -> bytes:
        return pack(data, self.packing)


def _fits(kind: pl.DataType, to: str) -> bool:
    """Whether a format can hold a type: CSV takes flat cells, and neither text takes bytes."""
    if isinstance(kind, pl.BaseExtension):
        inner = kind.ext_storage()
        return _fits(inner if isinstance(inner, pl.DataType) else inner(), to)
    if isinstance(kind, pl.List | pl.Array) and to == "ndjson":
        return _fits(kind.inner if isinstance(kind.inner, pl.DataType) else kind.inner(), to)
    if isinstance(kind, pl.Struct) and to == "ndjson":
        return all(
            _fits(each.dtype if isinstance(each.dtype, pl.DataType) else each.dtype(), to)
            for each in kind.fields
        )
    unfit = (pl.Binary, pl.Object, *((pl.Duration,) if to == "csv" else ()))
    return not (kind.is_nested() or kind in unfit)


def _check_columns(job: Job, first: Source) -> None:
    for name in job.columns or ():
        if name not in first.columns:
            raise SchemaError(
                f"--columns: '{name}' must be a column of '{first.name}', got "
                f"{', '.join(first.columns[:20])}.{meant(name, first.columns)}"
            )


def _typed(series: pl.Series, column: Column, nulls: tuple[str, ...]) -> pl.Series:
    if column.kind is Kind.NUMERIC:
        numbers, _ = as_numbers(series, nulls, column.format)
        return pl.Series(series.name, numbers, nan_to_null=True)
    return as_booleans(series, nulls)[0] if column.kind is Kind.BOOLEAN else series
