"""NDJSON -> chunks -> records, by the same rules as a record that is sent to the service."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import BLOCK_BYTES, BadRow, Chunk, Header, Place, read_chunks
from vaewatch.scoring.files.json_lines import members_of
from vaewatch.scoring.files.records import Records, good_rows, share_of_text
from vaewatch.scoring.files.rejects import Reject, reject_bad_row, reject_problems
from vaewatch.scoring.files.rows import Block, split_lines
from vaewatch.scoring.files.verdicts import EXPLAINED, refuse_added
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.structs import UNREADABLE, StructReader
from vaewatch.scoring.table import Table, parse_records

NULL = msgspec.Raw(b"null")
LINES = Header((), b"", "\n", b"\n", 0, 0)  # every newline ends a record: JSON escapes its own


@dataclass(frozen=True)
class NdjsonFile:
    """A file with one JSON object a line. Its columns are those of its first record."""

    name: str
    schema: Schema
    columns: tuple[str, ...]
    stream: BinaryIO
    rest: bytes
    to: str = "ndjson"
    header: bytes = b""
    delimiter: str = ","
    line_end: bytes = b"\n"

    @classmethod
    def open(cls, name: str, stream: BinaryIO, schema: Schema) -> NdjsonFile:
        rest = stream.read(BLOCK_BYTES)
        first = _decode(rest.split(b"\n", 1)[0])
        columns = tuple(first) if isinstance(first, dict) else schema.names
        return cls(name, schema, columns, stream, rest)

    def pieces(self, start: Place | None = None) -> Iterator[Chunk]:
        rest = self.rest
        if start is not None:
            self.stream.seek(start.offset)
            rest = b""
        at = start or Place(0, 0)
        return read_chunks(self.stream, LINES, rest, at, quotes=False)

    def lean(self) -> NdjsonFile:
        return replace(self, stream=io.BytesIO(), rest=b"")

    def share(self, end: Place, size: int) -> float | None:
        return share_of_text(self.name, end, size)

    def parse(self, chunk: Chunk) -> Records:
        block = split_lines(chunk)
        reader = _reader_of(self.schema, self.columns)
        rows = reader.rows(block)
        fine = np.array([row is not None for row in rows], dtype=bool)
        if not fine.any():
            return self._parse_exactly(block)
        table = reader.table([row for row in rows if row is not None])
        if fine.all():
            return self._records(table, good_rows(len(block), []), (), block)
        return self._together(block, table, fine, self._parse_exactly(block.take(~fine)))

    def _together(
        self, block: Block, table: Table, fine: NDArray[np.bool_], others: Records
    ) -> Records:
        """Also the lines that are not `fine`, each in its place, if it has a row at all."""
        assert others.block is not None
        lines = np.concatenate([block.lines[fine], others.block.lines])
        order = np.argsort(lines)
        good = np.concatenate([np.ones(len(table), dtype=bool), others.good])[order]
        kept = block.take(np.isin(block.lines, lines))
        return self._records(table.join(others.table).take(order), good, others.rejects, kept)

    def _records(
        self, table: Table, good: NDArray[np.bool_], rejects: tuple[Reject, ...], block: Block
    ) -> Records:
        return Records(table, good, rejects, block, lambda: self._frame(block))

    def _parse_exactly(self, block: Block) -> Records:
        """Every line the slow way, which names each broken rule."""
        decoded = _decode_lines(block)
        rejects = [reject_bad_row(self.name, bad) for bad in block.bad]
        sound = np.array([not isinstance(value, _NotJson) for value in decoded], dtype=bool)
        rejects += [self._reject(block, i) for i in np.flatnonzero(~sound).tolist()]
        records = [value for value, fine in zip(decoded, sound.tolist(), strict=True) if fine]
        block = block.take(sound)
        for record in records:
            if isinstance(record, dict) and not record.keys().isdisjoint(EXPLAINED):
                refuse_added(tuple(record))
        table, problems = parse_records(self.schema, records)
        bad = sorted({problem.record for problem in problems})
        raw = {record: block.row(record) for record in bad}
        rejects += reject_problems(self.name, problems, block.lines.tolist(), raw)
        rejects.sort(key=lambda reject: reject.line)
        good = good_rows(len(block), bad)
        return self._records(table, good, tuple(rejects), block)

    def _reject(self, block: Block, i: int) -> Reject:
        message = "a line must be a JSON object"
        return reject_bad_row(
            self.name, BadRow(int(block.lines[i]), "json", message, block.row(i))
        )

    def _frame(self, block: Block) -> pl.DataFrame:
        """The columns as text, a number's as it came; all records must have the same ones, or
        some would be lost.
        """
        # what is no object is among the rejects
        objects = [members_of(line) if line.lstrip()[:1] == b"{" else {} for line in _split(block)]
        extra = sorted(set().union(*objects) - set(self.columns))
        if extra:
            raise SchemaError(
                f"'{self.name}': every record must have the first one's columns to be written in "
                f"another format, but '{extra[0]}' is new. Keep NDJSON."
            )
        columns = [_texts([o.get(name, NULL) for o in objects]) for name in self.columns]
        names = zip(self.columns, columns, strict=True)
        return pl.DataFrame([pl.Series(name, texts, pl.String) for name, texts in names])


class _NotJson:
    """Stands for a line that is not JSON; None would be a value."""


_DECODER = msgspec.json.Decoder()


class _LineReader(StructReader):
    """Reads lines that are records of the schema, with no column that is not among the file's."""

    def __init__(self, schema: Schema, columns: tuple[str, ...]) -> None:
        super().__init__(schema, [c for c in columns if c not in {*schema.names, *EXPLAINED}])
        readable = self.record is not None and EXPLAINED.keys().isdisjoint(schema.names)
        self._decode: Any = msgspec.json.Decoder(self.record).decode if readable else None

    def rows(self, block: Block) -> list[Any]:
        """A struct for each line; None where only the slow way can say what is wrong."""
        lines = _split(block)
        if self._decode is None:
            return [None] * len(lines)
        try:  # each line for itself: decode_lines takes two values on one, and one on two
            rows = list(map(self._decode, lines))
        except UNREADABLE:
            return list(map(self._row, lines))
        return rows if self.plain(rows) else [row if self.plain([row]) else None for row in rows]

    def _row(self, line: bytes) -> Any:
        try:
            row = self._decode(line)
        except UNREADABLE:
            return None
        return row if self.plain([row]) else None


@lru_cache(maxsize=8)
def _reader_of(schema: Schema, columns: tuple[str, ...]) -> _LineReader:
    """Not kept in the source: this goes to other processes, where a struct type cannot go."""
    return _LineReader(schema, columns)


def _decode_lines(block: Block) -> list[Any]:
    return [_decode(line) for line in _split(block)]


def _decode(line: bytes) -> Any:
    try:
        return _DECODER.decode(line)
    except UNREADABLE:
        return _NotJson()


def _split(block: Block) -> list[bytes]:
    return block.rows.split(b"\n")[:-1]


def _texts(raw: list[msgspec.Raw]) -> Sequence[str | None]:
    """A column's values as text; what is none as it came."""
    joined = b"\n".join(raw)  # a newline ends a line, so no value has one
    came = joined.decode().split("\n")[: len(raw)]
    if b'"' not in joined and b"null" not in joined:
        return came
    return [_DECODER.decode(text) if text[0] in '"n' else text for text in came]
