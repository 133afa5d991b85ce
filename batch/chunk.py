"""A chunk of a file, as it goes to those that score it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.series.followed import Followed
from vaewatch.scoring.files.records import Records, Source


@dataclass(frozen=True)
class FileChunk:
    """A chunk of the job's file number `at`, from 0, with its lean source.

    before: the lines of the files before, where they are counted.
    followed: what became of its records, where they are judged with those before them.
    records: what was parsed of it; it does not travel, since to parse again costs less.
    """

    at: int
    source: Source
    chunk: Any
    followed: Followed | None = None
    records: Records | None = None
    before: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return FileChunk, (self.at, self.source, self.chunk, self.followed, None, self.before)

    def parsed(self) -> Records:
        return self.source.parse(self.chunk) if self.records is None else self.records

    def lines(self, records: Records) -> NDArray[np.int64]:
        """Return the line in its file of each of its records, (N,); in Parquet the row, from 1."""
        if records.rows is not None:
            return records.rows.lines
        return np.arange(len(records.table)) + int(self.chunk.start) + 1
