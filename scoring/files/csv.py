"""CSV -> chunks -> records."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from vaewatch.scoring.files.chunks import Chunk, Header, Place, read_chunks, read_header
from vaewatch.scoring.files.frames import frame_of_block, table_of_frame, typed_frame_of_block
from vaewatch.scoring.files.records import Records, good_rows, share_of_text
from vaewatch.scoring.files.rejects import reject_bad_row, reject_problems
from vaewatch.scoring.files.rows import split_chunk
from vaewatch.scoring.schema import Schema


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose header was read and fits the schema."""

    name: str
    schema: Schema
    layout: Header
    stream: BinaryIO
    rest: bytes
    to: str = "csv"

    @classmethod
    def open(cls, name: str, stream: BinaryIO, schema: Schema, delimiter: str | None) -> CsvFile:
        header, rest = read_header(stream, delimiter)
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

    def pieces(self, start: Place | None = None) -> Iterator[Chunk]:
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
        block = split_chunk(chunk, self.layout)
        frame = typed_frame_of_block(block, self.layout, self.schema)
        table, problems = table_of_frame(self.schema, frame)
        rejects = [reject_bad_row(self.name, bad) for bad in block.bad]
        bad = [problem.record for problem in problems]
        if bad:
            raw = {record: block.row(record) for record in bad}
            rejects += reject_problems(self.name, problems, block.lines.tolist(), raw)
            rejects.sort(key=lambda reject: reject.line)
        good = good_rows(len(block), bad)
        return Records(
            table, good, tuple(rejects), block, lambda: frame_of_block(block, self.layout)
        )
