"""chunks of CSV -> blocks of sound rows: raw bytes, line numbers, and the rows that are broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.files.chunks import (
    NEWLINE,
    QUOTE,
    RETURN,
    BadRow,
    Chunk,
    Header,
    Place,
    bare,
    count_bytes,
    read_chunks,
)


@dataclass(frozen=True)
class Block:
    """Some rows of a file: `rows` are whole, in order, each with its line end; `lines` are their
    line numbers.
    """

    rows: bytes
    ends: NDArray[np.int64]  # offset in `rows` after each row's line end
    lines: NDArray[np.int64]
    bad: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def line_end(self) -> bytes | None:
        """What ends each row and stands nowhere else; None if rows differ in it, or quote it."""
        if count_bytes(self.rows, NEWLINE) != len(self):
            return None
        if b"\r" not in self.rows:
            return b"\n"
        returns = np.count_nonzero(self.ends - self.bare_ends() == 2)
        return b"\r\n" if returns == len(self) == count_bytes(self.rows, RETURN) else None

    def row(self, index: int) -> bytes:
        """One row's bytes, without its line end."""
        start = int(self.ends[index - 1]) if index else 0
        return bare(self.rows[start : int(self.ends[index])])

    def take(self, keep: NDArray[np.bool_]) -> Block:
        """Only these rows."""
        if keep.all():
            return self
        rows = _Rows(self.rows, self.ends, self.lines).take(keep)
        return Block(rows.data, rows.ends, rows.lines, self.bad)

    def bare_ends(self) -> NDArray[np.int64]:
        """Offset in `rows` after each row, before its line end."""
        return _bare_ends(self.rows, self.ends)


def split_lines(chunk: Chunk) -> Block:
    """The lines of a chunk of NDJSON, without blank ones."""
    rows = _Rows.of(chunk)
    kept = rows.take(rows.lengths() > 0)
    return Block(kept.data, kept.ends, kept.lines, chunk.bad)


def read_blocks(stream: BinaryIO, header: Header, rest: bytes) -> Iterator[Block]:
    """Split what follows the header into blocks of whole rows."""
    for chunk in read_chunks(stream, header, rest, Place(header.size, header.lines)):
        yield split_chunk(chunk, header)


def split_chunk(chunk: Chunk, header: Header) -> Block:
    """The rows of a chunk that have the right number of fields, and those that have not."""
    none = np.empty(0, np.int64)
    if chunk.bad:
        return Block(b"", none, none, chunk.bad)
    rows = _Rows.of(chunk)
    bad = [] if chunk.broken is None else rows.bad(chunk.broken, _stray_quote)
    if chunk.broken is not None:
        rows = rows.take(~chunk.broken)
    fields = rows.count_fields(header.delimiter)
    blank = rows.lengths() == 0 if len(header.names) > 1 else np.zeros(len(fields), bool)
    wrong = (fields != len(header.names)) & ~blank
    wanted, counts = len(header.names), iter(fields[wrong].tolist())
    bad += rows.bad(
        wrong, lambda raw: ("fields", f"a row must have {wanted} fields, got {next(counts)}")
    )
    unreadable = rows.unreadable() & ~(wrong | blank)
    bad += rows.bad(unreadable, _not_text)
    bad.sort(key=lambda row: row.line)
    keep = ~(wrong | blank | unreadable)
    kept = rows if keep.all() else rows.take(keep)
    return Block(kept.data, kept.ends, kept.lines, tuple(bad))


@dataclass(frozen=True)
class _Rows:
    """Rows with a sound use of quotes, and their line numbers."""

    data: bytes
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]

    @classmethod
    def of(cls, chunk: Chunk) -> _Rows:
        newlines = np.flatnonzero(np.frombuffer(chunk.data, np.uint8) == NEWLINE) + 1
        if chunk.ends is None:
            return cls(chunk.data, newlines, chunk.start.line + 1 + np.arange(len(newlines)))
        starts = np.concatenate([[0], chunk.ends[:-1]])
        before = np.searchsorted(newlines, starts, side="right")
        return cls(chunk.data, chunk.ends, chunk.start.line + 1 + before)

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]

    def take(self, keep: NDArray[np.bool_]) -> _Rows:
        starts, ends = self.starts[keep], self.ends[keep]
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        data = b"".join(self.data[start:end] for start, end in spans)
        return _Rows(data, np.cumsum(ends - starts), self.lines[keep])

    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each row without its line end."""
        return _bare_ends(self.data, self.ends) - self.starts

    def count_fields(self, delimiter: str) -> NDArray[np.uint32]:
        raw = np.frombuffer(self.data, np.uint8)
        cuts = raw == ord(delimiter)
        if b'"' in self.data:
            # one byte is enough to count quotes: only odd or even matters
            cuts &= (np.cumsum(raw == QUOTE, dtype=np.uint8) & 1) == 0
        # uint32 holds what a chunk can hold, and is summed faster than the machine's own integers
        return np.add.reduceat(cuts.view(np.uint8), self.starts, dtype=np.uint32) + 1

    def unreadable(self) -> NDArray[np.bool_]:
        """Rows that are not text; none in nearly every chunk, so look once."""
        none = np.zeros(len(self.ends), bool)
        if _not_text(self.data) is None:
            return none
        spans = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        found = [_not_text(self.data[start:end]) is not None for start, end in spans]
        return np.array(found, bool)

    def bad(self, which: NDArray[np.bool_], rule: _Rule) -> list[BadRow]:
        """These rows, each with the code and the message that the rule gives for its bytes."""
        found = []
        for i in np.flatnonzero(which).tolist():
            raw = bare(self.data[int(self.ends[i - 1]) if i else 0 : int(self.ends[i])])
            found.append(BadRow(int(self.lines[i]), *(rule(raw) or ("row", "")), raw))
        return found


_Rule = Callable[[bytes], tuple[str, str] | None]


def _stray_quote(raw: bytes) -> tuple[str, str]:
    return "quote", "a quote must open at the start of a field and close at its end"


def _not_text(raw: bytes) -> tuple[str, str] | None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "encoding", "a row must be UTF-8 text, got other bytes"
    return ("encoding", "a row must be text, got a NUL byte") if b"\0" in raw else None


def _bare_ends(rows: bytes, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    raw, bare_ends = np.frombuffer(rows, np.uint8), ends - 1
    if b"\r" in rows:
        bare_ends -= raw[np.maximum(ends - 2, 0)] == RETURN
    return np.asarray(bare_ends)
