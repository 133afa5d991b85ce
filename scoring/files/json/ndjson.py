"""NDJSON -> chunks -> records, by the same rules as a record that is sent to the service, and
records -> NDJSON, in which a number stands as it came wherever its text is JSON.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import (
    BOM,
    CHUNK_BYTES,
    BadRow,
    Chunk,
    Header,
    Place,
    read_chunks,
)
from vaewatch.scoring.files.foreign import JQ, NESTED, why_no_json
from vaewatch.scoring.files.frames import as_numbers, nulls_of, series_of_json
from vaewatch.scoring.files.records import (
    Lines,
    Records,
    good_rows,
    refuse_reserved,
    share_of_text,
)
from vaewatch.scoring.files.rejects import Reject, reject_bad_row, reject_problems
from vaewatch.scoring.files.rows import Rows, split_lines
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.spelling.values import kind_of
from vaewatch.scoring.structs import UNREADABLE, StructReader
from vaewatch.scoring.table import Table, parse_records

NULL = msgspec.Raw(b"null")
LINES = Header((), b"", "\n", b"\n", 0, 0)  # every newline ends a record: JSON escapes its own
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
WHOLE = 2**53  # up to here each whole number has a float of its own


@dataclass(frozen=True)
class NdjsonFile:
    """A file with one JSON object a line. Its columns are those of its first record.

    reserved: columns that no record may have.
    """

    name: str
    schema: Schema
    columns: tuple[str, ...]
    reserved: tuple[str, ...]
    stream: BinaryIO
    rest: bytes
    format: str = "ndjson"
    header: bytes = b""
    delimiter: str = ","
    line_end: bytes = b"\n"

    @classmethod
    def open(
        cls, name: str, stream: BinaryIO, schema: Schema, reserved: tuple[str, ...]
    ) -> NdjsonFile:
        rest = stream.read(CHUNK_BYTES)
        first = _decode(rest.removeprefix(BOM).lstrip().split(b"\n", 1)[0])
        columns = tuple(first) if isinstance(first, dict) else schema.inputs
        return cls(name, schema, columns, reserved, stream, rest)

    def chunks(self, start: Place | None = None) -> Iterator[Chunk]:
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
        rows = split_lines(chunk)
        reader = _reader_of(self.schema, self.columns, self.reserved)
        structs = reader.structs(rows)
        fine = np.array([struct is not None for struct in structs], dtype=bool)
        if not fine.any():
            return self._parse_exactly(rows)
        table = reader.table([struct for struct in structs if struct is not None])
        if fine.all():
            return self._records(table, good_rows(len(rows), []), (), rows)
        return self._together(rows, table, fine, self._parse_exactly(rows.take(~fine)))

    def _together(
        self, rows: Rows, table: Table, fine: NDArray[np.bool_], others: Records
    ) -> Records:
        """Return the lines that are `fine`, and the others that have a row, in their places."""
        assert others.rows is not None
        lines = np.concatenate([rows.lines[fine], others.rows.lines])
        order = np.argsort(lines)
        good = np.concatenate([np.ones(len(table), dtype=bool), others.good])[order]
        kept = rows.take(np.isin(rows.lines, lines))
        return self._records(table.join(others.table).take(order), good, others.rejects, kept)

    def _records(
        self, table: Table, good: NDArray[np.bool_], rejects: tuple[Reject, ...], rows: Rows
    ) -> Records:
        return Records(table, good, rejects, rows, lambda: self._frame(rows))

    def _parse_exactly(self, rows: Rows) -> Records:
        """Parse every line the slow way, which names each broken rule."""
        decoded = [_decode(line) for line in _split(rows)]
        rejects = [reject_bad_row(self.name, bad) for bad in rows.bad]
        sound = np.array([not isinstance(value, _NotJson) for value in decoded], dtype=bool)
        bad = [_not_json(rows, i) for i in np.flatnonzero(~sound).tolist()]
        rejects += [reject_bad_row(self.name, row) for row in bad]
        records = [value for value, fine in zip(decoded, sound.tolist(), strict=True) if fine]
        rows = rows.take(sound)
        for record in records:
            if isinstance(record, dict):
                refuse_reserved(record.keys(), self.reserved)
        table, problems = parse_records(self.schema, records)
        broken = sorted({problem.record for problem in problems})
        raw = {record: rows.row(record) for record in broken}
        rejects += reject_problems(self.name, problems, rows.lines.tolist(), raw)
        rejects.sort(key=lambda reject: reject.line)
        return self._records(table, good_rows(len(rows), broken), tuple(rejects), rows)

    def _frame(self, rows: Rows) -> pl.DataFrame:
        """Return the columns as text, numbers as they came. All records must have the same
        columns, or some would be lost.
        """
        # a line that is not an object is among the rejects
        objects = [
            _members.decode(line) if line.lstrip()[:1] == b"{" else {} for line in _split(rows)
        ]
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


_decoder = msgspec.json.Decoder()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])  # each value as it came


class _LineReader(StructReader):
    """Reads lines that are records of the schema, and have no column that is not the file's."""

    def __init__(
        self, schema: Schema, columns: tuple[str, ...], reserved: tuple[str, ...]
    ) -> None:
        super().__init__(schema, [c for c in columns if c not in {*schema.inputs, *reserved}])
        readable = self.record is not None and set(reserved).isdisjoint(schema.inputs)
        self._decode: Any = msgspec.json.Decoder(self.record).decode if readable else None

    def structs(self, rows: Rows) -> list[Any]:
        """Return a struct for each line; None where only the slow way can say what is wrong."""
        lines = _split(rows)
        if self._decode is None:
            return [None] * len(lines)
        try:  # line by line: decode_lines takes two values on one line, and one on two
            found = list(map(self._decode, lines))
        except UNREADABLE:
            return list(map(self._struct, lines))
        return found if self.plain(found) else [s if self.plain([s]) else None for s in found]

    def _struct(self, line: bytes) -> Any:
        try:
            struct = self._decode(line)
        except UNREADABLE:
            return None
        return struct if self.plain([struct]) else None


@lru_cache(maxsize=8)
def _reader_of(schema: Schema, columns: tuple[str, ...], reserved: tuple[str, ...]) -> _LineReader:
    """Not a field of the source, which travels to other processes: a struct type cannot."""
    return _LineReader(schema, columns, reserved)


def _decode(line: bytes) -> Any:
    try:
        return _decoder.decode(line)
    except UNREADABLE:
        return _NotJson()


def _split(rows: Rows) -> list[bytes]:
    return rows.data.split(b"\n")[:-1]


def _not_json(rows: Rows, i: int) -> BadRow:
    raw, line = rows.row(i), int(rows.lines[i])
    return BadRow(line, "json", why_no_json(raw, first=line == 1), raw)


def _texts(raw: list[msgspec.Raw]) -> Sequence[str | None]:
    """Return a column's values as text; one that is not a text stays as it came."""
    joined = b"\n".join(raw)  # a newline ends a line, so no value has one
    came = joined.decode().split("\n")[: len(raw)]
    if b'"' not in joined and b"null" not in joined:
        return came
    return [_decoder.decode(text) if text[0] in '"n' else text for text in came]


def read_ndjson(stream: BinaryIO) -> Iterator[Lines]:
    """Yield the records of a file without a schema: numbers, booleans and texts stay what they
    are.

    A frame has the columns of all records up to its end, in the order in which they first came. A
    member that a record lacks is missing. What a column is may differ from frame to frame.
    """
    names: dict[str, None] = {}
    yield Lines(pl.DataFrame())
    for chunk in read_chunks(stream, LINES, b"", Place(0, 0), quotes=False):
        rows = split_lines(chunk)
        found = [_object(rows, i, line) for i, line in enumerate(_split(rows))]
        bad = [*rows.bad, *(row for row in found if isinstance(row, BadRow))]
        sound = np.array([not isinstance(row, BadRow) for row in found], dtype=bool)
        records = [row for row in found if not isinstance(row, BadRow)]
        for record in records:
            names.update(dict.fromkeys(record))
        frame = pl.DataFrame([series_of_json(n, [r.get(n) for r in records]) for n in names])
        yield Lines(frame, rows.lines[sound], tuple(bad))


def _object(rows: Rows, i: int, line: bytes) -> dict[str, Any] | BadRow:
    value = _decode(line)
    if isinstance(value, _NotJson):
        return _not_json(rows, i)
    rule = "a record must be an object of column: value,"
    if not isinstance(value, dict):
        rule += f" got {kind_of(value)}" + (f"; {JQ}" if isinstance(value, list) else "")
    elif value and all(isinstance(member, dict | list) for member in value.values()):
        rule += f" {NESTED}"
    else:
        return value
    return BadRow(int(rows.lines[i]), "type", rule, line)


def ndjson_of_frame(frame: pl.DataFrame, schema: Schema) -> bytes:
    """Return one object for each row. Text in the schema's numeric columns is a number: 5 stays 5,
    not 5.0, and 0.10 stays 0.10.
    """
    texts = {column.name for column in schema.measured if column.name in frame.columns}
    texts = {name for name in texts if frame.schema[name] == pl.String}
    members: list[pl.Series] = []
    for is_number, names in groupby(frame.columns, texts.__contains__):
        if is_number:
            members += [_number(frame[name], schema) for name in names]
        else:
            members.append(_joined_members(frame.select(names)))
    joined = pl.concat_str([pl.lit(member) for member in members], separator=",")
    lines = pl.select(pl.concat_str([pl.lit("{"), joined, pl.lit("}\n")]))
    return "".join(lines.to_series().to_list()).encode()


def _joined_members(frame: pl.DataFrame) -> pl.Series:
    """Return the members of each row as polars writes them, without the braces."""
    objects = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return objects.str.slice(1).str.head(-1)


def _number(series: pl.Series, schema: Schema) -> pl.Series:
    """Return one member of each row. A number that is not JSON, such as +5, is spelled anew."""
    name = pl.lit(f"{msgspec.json.encode(series.name).decode()}:")
    column = schema.numeric[schema.place[series.name]]
    fine = series.str.contains(NUMBER) & (column.format is None)
    if fine.all(ignore_nulls=False):
        return pl.select(name + series).to_series()
    numbers, _ = as_numbers(series, nulls_of(schema, column), column.format)
    values = pl.Series(numbers, nan_to_null=True)
    whole = (values == values.round()) & (values.abs() < WHOLE)
    anew = pl.when(whole).then(values.cast(pl.Int64, strict=False).cast(pl.String))
    text = pl.when(fine).then(series).otherwise(anew.otherwise(values.cast(pl.String)))
    return pl.select(name + text.fill_null("null")).to_series()


def extend_lines(
    rows: Rows, added: pl.DataFrame, which: NDArray[np.int64], columns: Sequence[str] | None
) -> Iterator[bytes]:
    """Add to the objects `which`, (n,), as they came, the members of their rows in `added`, before
    their braces. `columns` picks some of their own members.
    """
    fields = added.write_ndjson().encode().split(b"\n")
    starts, bare, _ = rows.spans()
    for i in which.tolist():
        kept = rows.data[starts[i] : bare[i]].rstrip()
        kept = (kept if columns is None else _pick(kept, columns))[:-1]
        yield kept
        yield b"" if kept.strip() == b"{" else b","
        yield fields[i][1:]
        yield b"\n"


def _pick(line: bytes, columns: Sequence[str]) -> bytes:
    """Return the object with those of these members that it has, each as it came."""
    members = _members.decode(line)
    return msgspec.json.encode({name: members[name] for name in columns if name in members})
