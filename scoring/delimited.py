"""bytes of CSV -> blocks of whole rows: raw bytes, line numbers, and the rows that are broken.

Rows are found by numpy on the raw bytes (RFC 4180: a quoted field may hold newlines, delimiters
and doubled quotes), so that each row can be given back byte for byte, and each broken one named by
its line. The fields themselves are parsed by polars, see `scoring.frames`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scoring.errors import SchemaError

BLOCK_BYTES = 4 << 20
ROW_BYTES = 64 << 20  # a longer row is taken for a quote that was never closed
DELIMITERS = ",;\t|"
BOM = b"\xef\xbb\xbf"
NEWLINE, QUOTE = ord("\n"), ord('"')


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be split into fields: its line, counted from 1, what is wrong, and its
    bytes.
    """

    line: int
    code: str
    message: str
    raw: bytes


@dataclass(frozen=True)
class Header:
    """The first row of a file."""

    names: tuple[str, ...]
    raw: bytes  # without its line end
    delimiter: str
    line_end: bytes


@dataclass(frozen=True)
class Block:
    """Some rows of a file: `rows` are whole, in order, each with its line end; `lines` are their
    line numbers.
    """

    rows: bytes
    ends: NDArray[np.int64]  # offset in `rows` after each row's line end
    lines: NDArray[np.int64]
    bad: tuple[BadRow, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.ends)

    def row(self, index: int) -> bytes:
        """One row's bytes, without its line end."""
        start = int(self.ends[index - 1]) if index else 0
        return self.rows[start : int(self.ends[index])].rstrip(b"\r\n")


def read_header(stream: BinaryIO, delimiter: str | None = None) -> tuple[Header, bytes, int]:
    """The header, the bytes read beyond it, and how many lines it took."""
    data = stream.read(BLOCK_BYTES).removeprefix(BOM)
    end = data.find(b"\n")
    while end >= 0 and data.count(b'"', 0, end) % 2:
        end = data.find(b"\n", end + 1)
    raw = data if end < 0 else data[:end]
    line_end = b"\r\n" if raw.endswith(b"\r") else b"\n"
    raw = raw.rstrip(b"\r")
    if not raw.strip():
        raise SchemaError("the input must start with a header row of column names, got nothing.")
    if data.startswith(b"PAR1"):
        raise SchemaError("the input must be CSV, got a Parquet file; name it .parquet.")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SchemaError("the input must be UTF-8 text, but its header is not.") from None
    if "\0" in text:
        raise SchemaError("the input must be CSV, got a binary file.")
    delimiter = delimiter or max(DELIMITERS, key=text.count)
    names = tuple(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(
            f"column names must differ, but '{twice[0]}' is there {names.count(twice[0])} times."
        )
    if "" in names:
        raise SchemaError(
            f"column {names.index('') + 1} must have a name in the header, got none."
        )
    rest = b"" if end < 0 else data[end + 1 :]
    return Header(names, raw, delimiter, line_end), rest, 1 + raw.count(b"\n")


def read_blocks(
    stream: BinaryIO, header: Header, rest: bytes, line: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Split what follows the header into blocks of whole rows; `line` lines came before."""
    pending, at_end = rest, False
    while pending or not at_end:
        whole = _last_row_end(pending)
        if whole:
            block, lines = _split(pending[:whole], header, line)
        elif at_end or len(pending) > ROW_BYTES:
            block, whole, lines = _unclosed(pending, line + 1)
        if whole:
            yield block
            pending, line = pending[whole:], line + lines
        elif not at_end:
            more = stream.read(block_bytes)
            at_end = not more
            pending += more if more or not pending or pending.endswith(b"\n") else header.line_end


def _last_row_end(data: bytes) -> int:
    """The offset after the last newline that is outside quotes; 0 if there is none."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1
    ends = np.flatnonzero(_outside_quotes(np.frombuffer(data, np.uint8), NEWLINE))
    return int(ends[-1]) + 1 if len(ends) else 0


def _outside_quotes(data: NDArray[np.uint8], byte: int) -> NDArray[np.bool_]:
    inside = np.cumsum(data == QUOTE, dtype=np.int32) & 1
    return np.asarray((data == byte) & (inside == 0))


def _unclosed(data: bytes, line: int) -> tuple[Block, int, int]:
    """A row with no end: give up its first line alone, so that a stray quote costs one row and not
    the file.
    """
    rule = (
        "a quote must be closed"
        if b'"' in data
        else f"a row must be at most {ROW_BYTES >> 20} MiB"
    )
    end = data.find(b"\n") + 1 or len(data)
    bad = BadRow(
        line,
        "row",
        f"{rule}, but the row that starts here is not",
        data[: min(end, 1000)].rstrip(),
    )
    empty = np.empty(0, np.int64)
    return Block(b"", empty, empty, (bad,)), end, 1


def _split(data: bytes, header: Header, line: int) -> tuple[Block, int]:
    """Rows of `data`, good and bad, and how many lines they took."""
    raw = np.frombuffer(data, np.uint8)
    quoted = b'"' in data
    newlines = raw == NEWLINE
    ends = np.flatnonzero(_outside_quotes(raw, NEWLINE) if quoted else newlines) + 1
    delimiter = ord(header.delimiter)
    cuts = np.flatnonzero(_outside_quotes(raw, delimiter) if quoted else raw == delimiter)
    starts = np.concatenate([[0], ends[:-1]])
    fields = np.diff(np.searchsorted(cuts, ends), prepend=0) + 1
    lengths = ends - starts - 1
    lengths -= (lengths > 0) & (raw[ends - 2] == ord("\r"))
    if quoted:
        before = np.concatenate([[0], np.cumsum(newlines)])
        lines = line + 1 + before[starts]
    else:
        lines = line + 1 + np.arange(len(ends))
    blank = lengths == 0 if len(header.names) > 1 else np.zeros(len(ends), dtype=bool)
    wrong = (fields != len(header.names)) & ~blank
    bad = [
        _ragged(data, starts, ends, i, int(fields[i]), header, int(lines[i]))
        for i in np.flatnonzero(wrong).tolist()
    ]
    bad += _undecodable(data, starts, ends, lines, ~(wrong | blank))
    keep = ~(wrong | blank)
    keep[[int(np.searchsorted(lines, row.line)) for row in bad]] = False
    took = int(newlines.sum()) if quoted else len(ends)
    bad.sort(key=lambda row: row.line)
    if keep.all():
        return Block(data, ends, lines, tuple(bad)), took
    rows = b"".join(data[starts[i] : ends[i]] for i in np.flatnonzero(keep))
    return Block(rows, np.cumsum((ends - starts)[keep]), lines[keep], tuple(bad)), took


def _ragged(
    data: bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    i: int,
    fields: int,
    header: Header,
    line: int,
) -> BadRow:
    message = f"a row must have {len(header.names)} fields, got {fields}"
    return BadRow(line, "fields", message, data[starts[i] : ends[i]].rstrip(b"\r\n"))


def _undecodable(
    data: bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    lines: NDArray[np.int64],
    rows: NDArray[np.bool_],
) -> list[BadRow]:
    """Rows with a NUL byte or with bytes that are not UTF-8; none in nearly every block, so look
    once.
    """
    try:
        data.decode()
        if b"\0" not in data:
            return []
    except UnicodeDecodeError:
        pass
    bad = []
    for i in np.flatnonzero(rows):
        raw = data[starts[i] : ends[i]]
        try:
            message = "a row must be text, got a NUL byte" if "\0" in raw.decode() else ""
        except UnicodeDecodeError:
            message = "a row must be UTF-8 text, got other bytes"
        if message:
            bad.append(BadRow(int(lines[i]), "encoding", message, raw.rstrip(b"\r\n")))
    return bad
