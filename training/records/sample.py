"""frames -> Sample: a uniform sample of their rows, and where each one stands."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import OutputError, Problem, SchemaError
from vaewatch.scoring.files.chunks import BadRow
from vaewatch.scoring.files.frames import as_categories, without_codes
from vaewatch.scoring.files.rejects import (
    REJECTS_HEAD,
    Reject,
    encode_rejects,
    reject_bad_row,
    reject_problems,
    with_texts,
)
from vaewatch.scoring.files.whole import write_whole
from vaewatch.scoring.schema import numbers_among
from vaewatch.training.records.index import without_last_blanks

UNWRITABLE = (pl.Binary, pl.Object, pl.Duration)  # by polars, in CSV

log = logging.getLogger("vaewatch.training")


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        delimiter: what separates the fields of CSV; None for the header's.
        nulls: texts that mean "missing", beside those that always do.
        keep: columns that are read even if they look like a table's index.
        rejects: a file to set bad rows aside in; None to stop at one.
    """

    delimiter: str | None = None
    nulls: tuple[str, ...] = ()
    keep: frozenset[str] = frozenset()
    rejects: Path | None = None


@dataclass(frozen=True)
class Sample:
    """Some rows of the input in their order, of `total` that there are.

    Attributes:
        texts: the columns of NDJSON in which every value is a text that looks like a number, such
            as "0123". To be learned as categories: where a schema has numbers, JSON must have
            numbers too.
        files: the names of the files, if there are any.
        places: (N, 2) of each row the number of its file and its line; (0, 2) without files.
        rejects: the rows that were set aside.
    """

    frame: pl.DataFrame
    total: int
    texts: tuple[str, ...]
    files: tuple[str, ...] = ()
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    rejects: tuple[Reject, ...] = ()

    def place(self, row: int) -> str:
        """Return where a row stands, for an error."""
        if not len(self.places):
            return f"row {row + 1}, without the header"
        file, line = self.places[row].tolist()
        return f"line {line}" if len(self.files) == 1 else f"line {line} of '{self.files[file]}'"

    def take(self, rows: NDArray[np.int64]) -> Sample:
        """Return the rows at these indices."""
        places = self.places[rows] if len(self.places) else self.places
        return replace(self, frame=self.frame[rows], places=places)

    def without(self, problems: Sequence[Problem]) -> Sample:
        """Return the sample without the rows that break a rule, which are set aside."""
        rejects, good = list(self.rejects), np.ones(len(self.frame), dtype=bool)
        for problem in problems:
            good[problem.record] = False
        files, lines = self.places.T if len(self.places) else (None, np.arange(1, len(good) + 1))
        for at, name in enumerate(self.files or ("data",)):
            own = [p for p in problems if files is None or files[p.record] == at]
            raw = {p.record: _raw(self.frame[p.record]) for p in own}
            rejects += reject_problems(name, own, lines.tolist(), raw)
        places = self.places[good] if len(self.places) else self.places
        frame = self.frame.filter(pl.Series(good))
        return replace(self, frame=frame, places=places, rejects=tuple(rejects))

    def write_rejects(self, target: Path | None) -> None:
        """Write the rows that were set aside, as `vaewatch score` does."""
        if target is None:
            return
        try:
            write_whole(target, REJECTS_HEAD + encode_rejects(self.rejects))
        except OSError as error:
            raise OutputError(f"'{target}' must be writable: {error.strerror}.") from error
        if self.rejects:
            bad, more = f"{len(self.rejects):,}", len(self.rejects) > len(self.frame)
            most = ": more than were read. Is it a table, with a line of names?" if more else "."
            log.warning("%s bad rows were set aside in '%s'%s", bad, target, most)


def _raw(row: pl.DataFrame) -> bytes:
    texts = with_texts(row, lambda dtype: dtype.is_nested() or dtype in UNWRITABLE)
    return texts.write_csv(include_header=False).encode().rstrip(b"\n")


@dataclass
class Draw:
    """Gives each row a random key, and keeps those with the lowest in the order that they came.

    loose: some frames come from NDJSON; strict: some do not.
    """

    most: int | None
    rng: np.random.Generator
    reading: Reading
    files: tuple[str, ...] = ()
    loose: bool = False
    strict: bool = False
    total: int = 0
    rejects: list[Reject] = field(default_factory=list)
    _held: int = 0
    _kept: list[pl.DataFrame] = field(default_factory=list)
    _keys: list[NDArray[np.float64]] = field(default_factory=list)
    _places: list[NDArray[np.int64]] = field(default_factory=list)

    def take(
        self, frame: pl.DataFrame, file: int = 0, lines: NDArray[np.int64] | None = None
    ) -> None:
        """Take the rows of a frame, and the (N,) lines of a file on which they stand."""
        self._kept.append(_with_nulls(frame, self.reading.nulls))
        self._keys.append(self.rng.random(len(frame)))
        if lines is None:
            self._places.append(np.empty((0, 2), np.int64))
        else:
            self._places.append(np.stack([np.full(len(lines), file), lines], axis=1))
        self.total, self._held = self.total + len(frame), self._held + len(frame)
        if self.most is not None and self._held > 2 * self.most:
            self._keep_lowest(self.most)

    def set_aside(self, file: int, bad: Iterable[BadRow]) -> None:
        """Take the rows that cannot be split into fields.

        Raises:
            SchemaError: there is one, and no file for it.
        """
        for row in bad:
            if self.reading.rejects is None:
                raise SchemaError(f"'{self.files[file]}': {row.error()}")
            self.rejects.append(reject_bad_row(self.files[file], row))

    def sample(self) -> Sample:
        if self.most is not None and self._held > self.most:
            self._keep_lowest(self.most)
        frame, places = self._joined(), np.concatenate(self._places)
        if self.files and not self.loose:
            frame = without_last_blanks(frame)
            places = places[: len(frame)]
        texts = filter(lambda name: _looks_like_numbers(frame[name]), frame.columns)
        loose = tuple(texts) if self.loose and not self.strict else ()
        return Sample(frame, self.total, loose, self.files, places, tuple(self.rejects))

    def _keep_lowest(self, most: int) -> None:
        key, places = np.concatenate(self._keys), np.concatenate(self._places)
        rows = np.sort(np.argpartition(key, most)[:most])
        self._kept, self._keys, self._held = [self._joined()[rows]], [key[rows]], most
        self._places = [places[rows] if len(places) else places]

    def _joined(self) -> pl.DataFrame:
        if self.loose:
            return join_loosely(self._kept)
        return pl.concat(self._kept, how="vertical_relaxed")


def _with_nulls(frame: pl.DataFrame, nulls: Sequence[str]) -> pl.DataFrame:
    """Return the frame with nothing where a cell holds a text, or a number, that means so."""
    if not nulls:
        return frame
    numbers = list(numbers_among(nulls))
    new = []
    for series in map(without_codes, frame.get_columns()):
        if series.dtype == pl.String:
            text = series.str.strip_chars()
            gone = text.is_in(list(nulls)) | text.cast(pl.Float64, strict=False).is_in(numbers)
        elif series.dtype.is_numeric():
            gone = series.cast(pl.Float64).is_in(numbers)
        else:
            continue
        if gone.any():
            new.append(series.set(gone.fill_null(False), None))
    return frame.with_columns(new)


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
