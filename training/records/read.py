"""files or a DataFrame -> a frame of all rows or of a uniform sample, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import as_categories, frame_of
from vaewatch.scoring.files.remote import plain
from vaewatch.scoring.files.source import expand, open_frames
from vaewatch.training.streams import Stream, stream


@dataclass(frozen=True)
class Sample:
    """Some rows of the input in their order, of `total` that there are.

    texts: the columns of NDJSON in which every value is a text that looks like a number, such as
    "0123". To be learned as categories: where a schema has numbers, JSON must have numbers too.
    """

    frame: pl.DataFrame
    total: int
    texts: tuple[str, ...]


def read_frame(data: Any) -> pl.DataFrame:
    """All rows, see `read_sample`."""
    return read_sample(data, most=None, seed=0).frame


def read_sample(data: Any, most: int | None, seed: int) -> Sample:
    """Draw at most so many rows uniformly from a pandas or polars DataFrame, or from one or more
    files, folders, globs and URLs, as `vaewatch score` takes them. Files are read in chunks, so
    that memory grows with `most` alone.

    Raises:
        SchemaError: a file cannot be read, a row breaks a rule, or two files differ in their
        columns.
    """
    draw = _Draw(most, stream(seed, Stream.SAMPLE))
    if hasattr(data, "columns"):
        draw.take(frame_of(data))
    else:
        _read_files([data] if isinstance(data, (str, Path)) else list(data), draw)
    if not draw.total:
        raise SchemaError("the input must have records, got none.")
    return draw.sample()


def _read_files(names: Sequence[str | Path], draw: _Draw) -> None:
    if not names:
        raise SchemaError("at least one file of normal records must be given, got none.")
    files = expand([_plain(str(name)) for name in names])
    columns: list[str] = []
    for name in files:
        with open_frames(name) as file:
            draw.loose |= file.format == "ndjson"
            draw.strict |= file.format != "ndjson"
            for frame in file.chunks:
                columns = columns or frame.columns
                if not draw.loose:
                    _require_same_columns(frame, columns, files[0], name)
                    frame = frame.select(columns)
                draw.take(frame)


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


@dataclass
class _Draw:
    """Gives each row a random key, and keeps those with the lowest in the order that they came.

    loose: some frames come from NDJSON; strict: some do not.
    """

    most: int | None
    rng: np.random.Generator
    loose: bool = False
    strict: bool = False
    total: int = 0
    _held: int = 0
    _kept: list[pl.DataFrame] = field(default_factory=list)
    _keys: list[NDArray[np.float64]] = field(default_factory=list)

    def take(self, frame: pl.DataFrame) -> None:
        self._kept.append(frame)
        self._keys.append(self.rng.random(len(frame)))
        self.total, self._held = self.total + len(frame), self._held + len(frame)
        if self.most is not None and self._held > 2 * self.most:
            self._keep_lowest(self.most)

    def sample(self) -> Sample:
        if self.most is not None and self._held > self.most:
            self._keep_lowest(self.most)
        frame = self._joined()
        texts = filter(lambda name: _looks_like_numbers(frame[name]), frame.columns)
        return Sample(frame, self.total, tuple(texts) if self.loose and not self.strict else ())

    def _keep_lowest(self, most: int) -> None:
        key = np.concatenate(self._keys)
        rows = np.sort(np.argpartition(key, most)[:most])
        self._kept, self._keys, self._held = [self._joined()[rows]], [key[rows]], most

    def _joined(self) -> pl.DataFrame:
        if self.loose:
            return join_loosely(self._kept)
        return pl.concat(self._kept, how="vertical_relaxed")


def _looks_like_numbers(series: pl.Series) -> bool:
    if series.dtype != pl.String:
        return False
    given = as_categories(series).drop_nulls()
    return len(given) > 0 and not given.cast(pl.Float64, strict=False).null_count()


def join_loosely(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Join frames that differ in their columns or in the types of these.

    What a frame lacks is missing. A column that is not of one type, or numbers, is text, as it is
    within a chunk of NDJSON (see `vaewatch.scoring.files.frames.series_of_json`).
    """
    types: dict[str, set[Any]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            types.setdefault(name, set()).add(dtype)
    alike = [
        pl.DataFrame([_as_one_of(series, types[series.name]) for series in frame.get_columns()])
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed")


def _as_one_of(series: pl.Series, types: set[Any]) -> pl.Series:
    given = types - {pl.Null()}
    if series.dtype in (pl.Null, pl.List) or len(given) < 2:
        return series
    if all(dtype.is_numeric() for dtype in given):
        return series
    text = series if series.dtype == pl.String else as_categories(series)
    if not any(dtype.is_nested() for dtype in given):
        return text
    listed = pl.when(text.is_not_null()).then(pl.concat_list(text))
    return pl.select(listed.alias(series.name)).to_series()


def fingerprint(frame: pl.DataFrame) -> str:
    """A hash of the columns' names, types and values, in order: the same data, the same text."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()
