"""a file -> chunks -> records, each with its line and its bytes."""

from __future__ import annotations

import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from batch.rejects import Reject, reject_bad_row, reject_problems
from scoring.delimited import Chunk, Header, Place, read_chunks, read_header
from scoring.errors import SchemaError
from scoring.frames import frame_of_block, table_of_frame
from scoring.records import Table
from scoring.rows import Block, split_chunk
from scoring.schema import Schema

STDIN = "-"


@dataclass(frozen=True)
class Records:
    """The records of a chunk: all that have the right fields are in the table; those to give back
    are marked in `good`, the others are named in `rejects`.
    """

    block: Block
    table: Table
    good: NDArray[np.bool_]
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose header was read and fits the schema."""

    name: str
    schema: Schema
    header: Header
    stream: BinaryIO
    rest: bytes

    @classmethod
    def open(cls, name: str, schema: Schema, delimiter: str | None) -> CsvFile:
        with readable(name):
            return cls.of(name, _open(name), schema, delimiter)

    @classmethod
    def of(cls, name: str, stream: BinaryIO, schema: Schema, delimiter: str | None) -> CsvFile:
        header, rest = read_header(stream, delimiter)
        schema.require(list(header.names))
        return cls(name, schema, header, stream, rest)

    def chunks(self) -> Iterator[Chunk]:
        start = Place(self.header.size, self.header.lines)
        with readable(self.name):
            yield from read_chunks(self.stream, self.header, self.rest, start)

    def parse(self, chunk: Chunk) -> Records:
        """Safe to call from several threads."""
        block = split_chunk(chunk, self.header)
        frame = frame_of_block(block, self.header, self.schema.names)
        table, problems = table_of_frame(self.schema, frame)
        rejects = [reject_bad_row(self.name, bad) for bad in block.bad]
        good = np.ones(len(block), dtype=bool)
        if problems:
            good[[problem.record for problem in problems]] = False
            raw = {problem.record: block.row(problem.record) for problem in problems}
            lines = block.lines.tolist()
            rejects += reject_problems(self.name, problems, lines, raw)
        return Records(block, table, good, tuple(sorted(rejects, key=lambda r: r.line)))


def _open(name: str) -> BinaryIO:
    if name == STDIN:
        return cast(BinaryIO, io.BufferedReader(_StandardInput()))
    if Path(name).suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(name, "rb"))
    return open(name, "rb")


class _StandardInput(io.RawIOBase):
    """Waits in select, which Ctrl-C ends; not a read once polars handles it."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        handle = sys.stdin.fileno()
        select.select([handle], [], [])
        return os.readv(handle, [buffer])


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what reading raises into one sentence that names the file."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"'{name}': {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SchemaError(f"'{name}' must be a whole .gz file: {error}.") from error
    except OSError as error:
        raise SchemaError(f"'{name}' must be readable: {error.strerror or error}.") from error
