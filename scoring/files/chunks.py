"""bytes of CSV -> chunks of whole rows.

numpy finds the rows in the raw bytes (RFC 4180: a quoted field may hold newlines, delimiters and
doubled quotes), so that each row can be returned byte for byte, and each broken one reported with
its line number. This is cheap and passes through a file once. The rest of the work on a chunk is
not cheap, and chunks can be worked on in parallel: see `vaewatch.scoring.files.rows`, and
`vaewatch.scoring.files.csv` for the fields.

Where a chunk ends depends on the file alone, so that a job that is resumed in the middle of a file
meets the same chunks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError

CHUNK_BYTES = 2 << 20  # small enough that intermediate results stay in the cache
ROW_BYTES = 16 << 20  # a longer row counts as a quote that was never closed
SHOWN_BYTES = 1000  # of a row without an end
WINDOWS = "iconv -f WINDOWS-1252 -t UTF-8"
BOM = b"\xef\xbb\xbf"
NEWLINE, RETURN, QUOTE = ord("\n"), ord("\r"), ord('"')


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be split into fields: its line, from 1, the rule it breaks, its bytes."""

    line: int
    code: str
    message: str
    raw: bytes

    def error(self) -> SchemaError:
        """Return the error of a reader that does not set rows aside."""
        whole = f"Convert the file ({WINDOWS}, if it is Western European). "
        remedy = whole if "UTF-8" in self.message else ""
        return SchemaError(
            f"{self.message} (line {self.line}). {remedy}Mend or remove that row, "
            "or pass --rejects FILE to set such rows aside."
        )


@dataclass(frozen=True)
class Header:
    """The first row of a file, which takes `size` bytes and `lines` lines, with what comes before.

    returns: every line ends with a carriage return alone.
    """

    names: tuple[str, ...]
    raw: bytes  # without its line end
    delimiter: str
    line_end: bytes
    size: int
    lines: int
    returns: bool = False

    def read(self, stream: BinaryIO, size: int) -> bytes:
        """Read from a file, each line with a newline at its end."""
        data = stream.read(size)
        return data.replace(b"\r", b"\n") if self.returns else data


@dataclass(frozen=True)
class Place:
    """A position in a file: the number of bytes and of lines before it."""

    offset: int
    line: int


@dataclass(frozen=True)
class Chunk:
    """Whole rows of a file, from `start` up to `end`.

    ends: (rows,) the offset in `data` after each row; None if every newline ends a row.
    broken: (rows,) which rows have a quote where none is allowed; None if no row does.
    bad: a row without an end, which is not in `data`.
    """

    data: bytes
    start: Place
    end: Place
    ends: NDArray[np.int64] | None = None
    broken: NDArray[np.bool_] | None = None
    bad: tuple[BadRow, ...] = ()


def read_start(stream: BinaryIO) -> bytes:
    """Return the first bytes of a file, in which its header must be."""
    return stream.read(CHUNK_BYTES)


def read_chunks(
    stream: BinaryIO,
    header: Header,
    rest: bytes,
    at: Place,
    chunk_bytes: int | None = None,
    *,
    quotes: bool = True,
) -> Iterator[Chunk]:
    """Yield the rows from `at` on, of which `rest` was read already. Without `quotes`, every
    newline ends a row.
    """
    chunk_bytes = chunk_bytes or CHUNK_BYTES
    data, size = rest, chunk_bytes - at.offset % chunk_bytes
    while True:
        if len(data) < size:
            data += header.read(stream, size - len(data))
        last = len(data) < size
        if last and not data:
            return
        if last and not data.endswith(b"\n"):
            data += header.line_end
        chunk, over = _whole_rows(data[:size], at, header, last, quotes), b""
        if chunk is None and (last or size > ROW_BYTES):
            chunk, over = _skip_endless(stream, header, data, at)
        if chunk is None:
            size += chunk_bytes
            continue
        yield chunk
        data, at = data[chunk.end.offset - at.offset :] + over, chunk.end
        size = chunk_bytes - at.offset % chunk_bytes


def _whole_rows(data: bytes, at: Place, header: Header, last: bool, quotes: bool) -> Chunk | None:
    """Return the whole rows at the start of `data`; None if there is not even one."""
    ends = broken = None
    if not quotes or b'"' not in data:
        size = data.rfind(b"\n") + 1
    else:
        ends, broken = _find_rows(data, header.delimiter, last)
        size = int(ends[-1]) if len(ends) else 0
    if not size:
        return None
    rows = data[:size]
    end = Place(at.offset + size, at.line + count_bytes(rows, NEWLINE))
    return Chunk(rows, at, end, ends, broken)


def _find_rows(
    data: bytes, delimiter: str, last: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return where each row of quoted CSV ends, and which rows are broken by a stray quote."""
    raw = np.frombuffer(data, np.uint8)
    quotes, newlines = np.flatnonzero(raw == QUOTE), np.flatnonzero(raw == NEWLINE)
    if _quotes_are_in_place(raw, quotes, ord(delimiter)):
        return newlines[np.searchsorted(quotes, newlines) % 2 == 0] + 1, None
    return _find_rows_one_by_one(data, delimiter, last)


def _quotes_are_in_place(
    raw: NDArray[np.uint8], quotes: NDArray[np.int64], delimiter: int
) -> bool:
    """Return whether each quote opens or closes a field, or belongs to a doubled pair."""
    opening, closing = quotes[::2], quotes[1::2]
    before = raw[opening[opening > 0] - 1]
    after = raw[closing[closing < len(raw) - 1] + 1]
    opens = (before == delimiter) | (before == NEWLINE) | (before == QUOTE)
    closes = (after == delimiter) | (after == NEWLINE) | (after == QUOTE) | (after == RETURN)
    return bool(opens.all() and closes.all())


def _find_rows_one_by_one(
    data: bytes, delimiter: str, last: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Do the same for data with a stray quote, which costs the line that it is on, and no
    other.
    """
    d = re.escape(delimiter.encode())
    plain = rb'[^"\n' + d + rb"]*+"
    cell = rb'(?:"(?:[^"]|"")*+"(?=\r?\n|' + d + rb")|" + plain + rb")"
    cells = rb"(?:" + cell + d + rb")*+"
    whole = re.compile(cells + cell + rb"\r?\n")
    unfinished = re.compile(cells + rb'(?:"(?:[^"]|"")*+"?|' + plain + rb")\r?\Z")
    ends: list[int] = []
    broken: list[bool] = []
    at = 0
    while at < len(data):
        match = whole.match(data, at)
        if match is None and not last and unfinished.match(data, at):
            break
        end = match.end() if match else data.find(b"\n", at) + 1
        if not end:
            break
        ends.append(end)
        broken.append(match is None)
        at = end
    return np.array(ends, np.int64), np.array(broken, bool)


def _skip_endless(stream: BinaryIO, header: Header, data: bytes, at: Place) -> tuple[Chunk, bytes]:
    """Skip the first line of a row without an end, so that a quote that was never closed does not
    cost the whole file. Also returns the bytes that were read beyond `data`.
    """
    size, over, rule = data.find(b"\n") + 1, b"", "a quote must be closed"
    if not size:
        rule, size = f"a row must be at most {ROW_BYTES >> 20} MiB", len(data)
        while not over and (more := header.read(stream, CHUNK_BYTES)):
            end = more.find(b"\n") + 1
            size, over = size + (end or len(more)), more[end:] if end else b""
            if end:
                break
    message = f"{rule}, but the row that starts here is not"
    bad = BadRow(at.line + 1, "row", message, bare(data[: min(size, SHOWN_BYTES)]))
    return Chunk(b"", at, Place(at.offset + size, at.line + 1), bad=(bad,)), over


def count_bytes(data: bytes, byte: int) -> int:
    """Like `data.count`, in a fifth of the time if there are many."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == byte))


def bare(row: bytes) -> bytes:
    """Return a row without its line end."""
    return row.removesuffix(b"\n").removesuffix(b"\r")


def quoted(text: str, delimiter: str = ",") -> str:
    """Return one cell, in quotes if it needs them; polars quotes the same cells, and the empty
    text.
    """
    if text and not any(mark in text for mark in (delimiter, '"', "\r", "\n")):
        return text
    return '"' + text.replace('"', '""') + '"'
