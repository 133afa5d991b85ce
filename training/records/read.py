"""files or a DataFrame -> a frame of all rows or of a uniform sample, and its fingerprint."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import frame_of, table_of_frame
from vaewatch.scoring.files.records import Frames, Lines
from vaewatch.scoring.files.remote import plain
from vaewatch.scoring.files.source import expand, open_frames, readable
from vaewatch.scoring.schema import Schema
from vaewatch.training.records.index import index_among
from vaewatch.training.records.sample import Draw, Reading, Sample
from vaewatch.training.streams import Stream, stream

log = logging.getLogger("vaewatch.training")


def read_frame(
    data: Any, reading: Reading | None = None, schema: Schema | None = None
) -> pl.DataFrame:
    """All rows, see `read_sample`.

    With a schema, its columns are read whatever they look like, and a file for rejects also takes
    the rows that break its rules.
    """
    reading = reading or Reading()
    if schema is not None:
        named = {*schema.inputs, *filter(None, (schema.id, schema.label))}
        reading = replace(reading, keep=reading.keep | named)
    sample = read_sample(data, most=None, seed=0, reading=reading)
    if schema is not None and reading.rejects is not None:
        sample = sample.without(table_of_frame(schema, sample.frame)[1])
    sample.write_rejects(reading.rejects)
    return sample.frame


def read_sample(data: Any, most: int | None, seed: int, reading: Reading | None = None) -> Sample:
    """Draw at most so many rows uniformly from a pandas or polars DataFrame, or from one or more
    files, folders, globs and URLs, as `vaewatch score` takes them. Files are read in chunks, so
    that memory grows with `most` alone.

    Raises:
        SchemaError: a file cannot be read, a row breaks a rule, or two files differ in their
        columns.
    """
    draw = Draw(most, stream(seed, Stream.SAMPLE), reading or Reading())
    if hasattr(data, "columns"):
        frame = frame_of(data)
        apart = index_among(frame, (), draw.reading.keep, csv=False)
        _say_left_out(frame, apart)
        draw.take(frame.drop(apart))
    else:
        _read_files([data] if isinstance(data, (str, Path)) else list(data), draw)
    if not draw.total:
        raise SchemaError("the input must have records, got none.")
    return draw.sample()


def _read_files(names: Sequence[str | Path], draw: Draw) -> None:
    if not names:
        raise SchemaError("at least one file of normal records must be given, got none.")
    draw.files = expand([_plain(str(name)) for name in names])
    columns: list[str] = []
    for at, name in enumerate(draw.files):
        with open_frames(name, draw.reading.delimiter) as file:
            draw.loose |= file.format == "ndjson"
            draw.strict |= file.format != "ndjson"
            for some in _data_alone(name, file, draw.reading.keep, said=at > 0):
                draw.set_aside(at, some.bad)
                frame = some.frame
                if not len(frame):
                    continue
                columns = columns or frame.columns
                if not draw.loose:
                    _require_same_columns(frame, columns, draw.files[0], name)
                    frame = frame.select(columns)
                draw.take(frame, at, some.lines)


def _data_alone(name: str, file: Frames, keep: frozenset[str], *, said: bool) -> Iterator[Lines]:
    """The records without the columns that are no data, which the first records show."""
    apart: tuple[str, ...] | None = None
    for some in file.chunks:
        if apart is None and len(some.frame):
            with readable(name):
                apart = index_among(some.frame, file.index, keep, csv=file.format == "csv")
            if not said:
                _say_left_out(some.frame, apart)
        yield replace(some, frame=some.frame.drop(apart or (), strict=False))


def _say_left_out(frame: pl.DataFrame, apart: Sequence[str]) -> None:
    for name in apart:
        if frame[name].null_count() < len(frame):  # or a last delimiter made it
            log.warning(
                "column '%s' is left out: it is a table's index, as pandas and R store it, and no "
                "data. To learn it all the same, declare its kind: --kind '%s=numeric'.",
                name,
                name,
            )


def _plain(name: str) -> str:
    try:
        return plain(name)
    except ValueError as error:
        raise SchemaError(f"the input {error}") from None


def _require_same_columns(frame: pl.DataFrame, columns: list[str], first: str, name: str) -> None:
    if set(frame.columns) != set(columns):
        differ = sorted(set(frame.columns) ^ set(columns))
        raise SchemaError(
            f"all files must have the same columns, but '{first}' and '{name}' differ in "
            f"'{differ[0]}'."
        )


def fingerprint(frame: pl.DataFrame) -> str:
    """A hash of the columns' names, types and values, in order: the same data, the same text."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()
