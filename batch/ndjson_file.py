"""NDJSON -> chunks -> records, by the same rules as a record that is sent to the service."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl

from batch.json_lines import members_of
from batch.records import Records, good_rows, share_of_text
from batch.rejects import Reject, reject_bad_row, reject_problems
from batch.verdicts import EXPLAINED, refuse_added
from scoring.delimited import BLOCK_BYTES, BadRow, Chunk, Header, Place, read_chunks
from scoring.errors import SchemaError
from scoring.records import parse_records
from scoring.rows import Block, split_lines
from scoring.schema import Schema

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
        decoded = _decode_lines(block)
        rejects = [reject_bad_row(self.name, bad) for bad in block.bad]
        sound = np.array([not isinstance(value, _NotJson) for value in decoded], dtype=bool)
        rejects += [self._reject(block, i) for i in np.flatnonzero(~sound).tolist()]
        block, records = (
            block.take(sound),
            [v for v, fine in zip(decoded, sound, strict=True) if fine],
        )
        for record in records:
            if isinstance(record, dict) and not record.keys().isdisjoint(EXPLAINED):
                refuse_added(tuple(record))
        table, problems = parse_records(self.schema, records)
        bad = sorted({problem.record for problem in problems})
        raw = {record: block.row(record) for record in bad}
        rejects += reject_problems(self.name, problems, block.lines.tolist(), raw)
        rejects.sort(key=lambda reject: reject.line)
        good = good_rows(len(block), bad)
        return Records(table, good, tuple(rejects), block, lambda: self._frame(block, records))

    def _reject(self, block: Block, i: int) -> Reject:
        message = "a line must be a JSON object"
        return reject_bad_row(
            self.name, BadRow(int(block.lines[i]), "json", message, block.row(i))
        )

    def _frame(self, block: Block, records: list[Any]) -> pl.DataFrame:
        """The columns as text, a number's as it came; all records must have the same ones, or
        some would be lost.
        """
        objects = [record if isinstance(record, dict) else {} for record in records]
        extra = sorted({key for record in objects for key in record} - set(self.columns))
        if extra:
            raise SchemaError(
                f"'{self.name}': every record must have the first one's columns to be written in "
                f"another format, but '{extra[0]}' is new. Keep NDJSON."
            )
        raw = [members_of(block.row(i)) if record else {} for i, record in enumerate(objects)]
        pairs = list(zip(objects, raw, strict=True))
        return pl.DataFrame(
            [
                pl.Series(name, [_cell(o.get(name), r.get(name)) for o, r in pairs], pl.String)
                for name in self.columns
            ]
        )


class _NotJson:
    """Stands for a line that is not JSON; None would be a value."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODER = msgspec.json.Decoder()


def _decode_lines(block: Block) -> list[Any]:
    """The value of each line. A value may go on over lines, and a line be blank: then there are
    fewer values than lines, and each line has to be looked at for itself.
    """
    try:
        values = _DECODER.decode_lines(block.rows)
        if len(values) == len(block):
            return values
    except UNREADABLE:
        pass
    return [_decode(line) for line in block.rows.split(b"\n")[:-1]]


def _decode(line: bytes) -> Any:
    try:
        return _DECODER.decode(line)
    except UNREADABLE:
        return _NotJson()


def _cell(value: Any, raw: msgspec.Raw | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return None if raw is None else bytes(raw).decode()
