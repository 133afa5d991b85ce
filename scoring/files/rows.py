"""chunks -> rows: their bytes and line numbers, and the rows that cannot be split into fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.files.chunks import (
    BOM,
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

REPEATED = "header"  # the code of a row that repeats it
_BLANK_BEFORE = re.compile(rb'[,;\t|] +"')
_Rule = Callable[[bytes], tuple[str, str] | None]  # a row -> code and message, if it breaks it


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, whole and in order.

    data: the rows, each with its line end.
    ends: (rows,) the offset in `data` after each row's line end.
    lines: (rows,) the line in the file on which each row starts, from 1.
    bad: rows that are not in `data`, since they cannot be split into fields.
    """

    data: bytes
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    bad: tuple[BadRow, ...] = ()

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def line_end(self) -> bytes | None:
        """What ends each row and stands nowhere else; None if rows differ in it, or quote it."""
        if count_bytes(self.data, NEWLINE) != len(self):
            return None
        if b"\r" not in self.data:
            return b"\n"
        returns = np.count_nonzero(self.ends - self.bare_ends() == 2)
        return b"\r\n" if returns == len(self) == count_bytes(self.data, RETURN) else None

    def row(self, index: int) -> bytes:
        """Return one row's bytes, without its line end."""
        start = int(self.ends[index - 1]) if index else 0
        return bare(self.data[start : int(self.ends[index])])

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """Return only the rows that `keep`, (rows,), marks."""
        if keep.all():
            return self
        starts, ends = self._starts()[keep], self.ends[keep]
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        data = b"".join(self.data[start:end] for start, end in spans)
        return Rows(data, np.cumsum(ends - starts), self.lines[keep], self.bad)

    def bare_ends(self) -> NDArray[np.int64]:
        """Return (rows,) the offset in `data` after each row, before its line end."""
        raw, bare_ends = np.frombuffer(self.data, np.uint8), self.ends - 1
        if b"\r" in self.data:
            bare_ends -= raw[np.maximum(self.ends - 2, 0)] == RETURN
        return np.asarray(bare_ends)

    def spans(self) -> tuple[list[int], list[int], list[int]]:
        """Return where each row starts, where it ends before its line end, and where after it."""
        return self._starts().tolist(), self.bare_ends().tolist(), self.ends.tolist()

    def lengths(self) -> NDArray[np.int64]:
        """Return (rows,) the bytes of each row, without its line end."""
        return self.bare_ends() - self._starts()

    def count_fields(self, delimiter: str) -> NDArray[np.uint32]:
        """Return (rows,) the number of fields of each row."""
        raw = np.frombuffer(self.data, np.uint8)
        cuts = raw == ord(delimiter)
        if b'"' in self.data:
            # one byte is enough to count quotes: only odd or even matters
            cuts &= (np.cumsum(raw == QUOTE, dtype=np.uint8) & 1) == 0
        # uint32 holds what a chunk can hold, and is summed faster than the machine's own integers
        return np.add.reduceat(cuts.view(np.uint8), self._starts(), dtype=np.uint32) + 1

    def unreadable(self) -> NDArray[np.bool_]:
        """Return (rows,) which rows are not text. Nearly every chunk has none, so check it as a
        whole first.
        """
        none = np.zeros(len(self), bool)
        if _not_text(self.data) is None:
            return none
        spans = zip(self._starts().tolist(), self.ends.tolist(), strict=True)
        found = [_not_text(self.data[start:end]) is not None for start, end in spans]
        return np.array(found, bool)

    def refuse(self, which: NDArray[np.bool_], rule: _Rule) -> list[BadRow]:
        """Return the rows that `which`, (rows,), marks, each with the code and message that the
        rule returns for its bytes.
        """
        found = []
        for i in np.flatnonzero(which).tolist():
            raw = self.row(i)
            found.append(BadRow(int(self.lines[i]), *(rule(raw) or ("row", "")), raw))
        return found

    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(1, np.int64), self.ends])[:-1]


def read_rows(stream: BinaryIO, header: Header, rest: bytes) -> Iterator[Rows]:
    """Yield the rows after the header, a chunk at a time."""
    for chunk in read_chunks(stream, header, rest, Place(header.size, header.lines)):
        yield split_chunk(chunk, header)


def split_lines(chunk: Chunk) -> Rows:
    """Return the lines of a chunk of NDJSON, without blank ones and a byte order mark
    before them.
    """
    if chunk.start.offset == 0:
        chunk = replace(chunk, data=chunk.data.removeprefix(BOM))
    lines = _all_rows(chunk)
    return lines.take(lines.lengths() > 0)


def split_chunk(chunk: Chunk, header: Header) -> Rows:
    """Return the sound rows of a chunk of CSV, and those that break a rule."""
    if chunk.bad:
        none = np.empty(0, np.int64)
        return Rows(b"", none, none, chunk.bad)
    rows = _all_rows(chunk)
    bad = [] if chunk.broken is None else rows.refuse(chunk.broken, _stray_quote)
    if chunk.broken is not None:
        rows = rows.take(~chunk.broken)
    wanted, fields = len(header.names), rows.count_fields(header.delimiter)
    blank = rows.lengths() == 0 if wanted > 1 else np.zeros(len(fields), bool)
    wrong = (fields != wanted) & ~blank
    counts = iter(fields[wrong].tolist())
    bad += rows.refuse(
        wrong, lambda raw: ("fields", f"a row must have {wanted} fields, got {next(counts)}")
    )
    repeated = _repeats(rows, header)
    bad += rows.refuse(repeated, _repeated)
    unreadable = rows.unreadable() & ~(wrong | blank)
    bad += rows.refuse(unreadable, _not_text)
    bad.sort(key=lambda row: row.line)
    return replace(rows.take(~(wrong | blank | repeated | unreadable)), bad=tuple(bad))


def _all_rows(chunk: Chunk) -> Rows:
    newlines = np.flatnonzero(np.frombuffer(chunk.data, np.uint8) == NEWLINE) + 1
    if chunk.ends is None:
        lines = chunk.start.line + 1 + np.arange(len(newlines))
        return Rows(chunk.data, newlines, lines, chunk.bad)
    starts = np.concatenate([[0], chunk.ends[:-1]])
    before = np.searchsorted(newlines, starts, side="right")
    return Rows(chunk.data, chunk.ends, chunk.start.line + 1 + before, chunk.bad)


def _repeats(rows: Rows, header: Header) -> NDArray[np.bool_]:
    """Return (rows,) which rows are the header again, maybe with a byte order mark. In a file of
    one column it may well be a value.
    """
    found = np.zeros(len(rows), bool)
    if len(header.names) > 1 and header.raw in rows.data:
        lengths = (len(header.raw), len(BOM + header.raw))
        for i in np.flatnonzero(np.isin(rows.lengths(), lengths)).tolist():
            found[i] = rows.row(i).removeprefix(BOM) == header.raw
    return found


def _repeated(raw: bytes) -> tuple[str, str]:
    rule = "a row must be a record, but this one repeats the header, as where files were joined"
    return REPEATED, rule


def _stray_quote(raw: bytes) -> tuple[str, str]:
    rule = "a quote must open at the start of a field and close at its end"
    if b'\\"' in raw:
        rule += '; within one it is "", and not \\"'
    elif _BLANK_BEFORE.search(raw):
        rule += ", and no blank may stand before it"
    return "quote", rule


def _not_text(raw: bytes) -> tuple[str, str] | None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "encoding", "a row must be UTF-8 text, got other bytes"
    return ("encoding", "a row must be text, got a NUL byte") if b"\0" in raw else None
