"""broken rows -> rejects: where each one stands, the rule it breaks, and its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from vaewatch.scoring.errors import REMEDIES, BadRecord, Problem
from vaewatch.scoring.files.chunks import BadRow, quoted
from vaewatch.scoring.files.rows import REPEATED

SAID = 5  # broken rules of one record: of a record of another schema, each column breaks one
REJECTS_HEAD = b"file,line,column,code,message,row\n"

# beside those of records that come in any other way
OF_FILES = {"type": " If a text means missing, train with --null."} | REMEDIES


@dataclass(frozen=True)
class Reject:
    """A record that was not scored. `line` is its line in the file, from 1; in Parquet its row."""

    file: str
    line: int
    column: str
    code: str
    message: str
    raw: bytes

    def error(self) -> BadRecord:
        """Return the error of a job without a rejects file."""
        mend = "Remove" if self.code == REPEATED else "Mend"
        return BadRecord(
            f"'{self.file}', line {self.line}: {self.message}. {mend} it, or pass --rejects FILE "
            f"to set such rows aside and go on.{OF_FILES.get(self.code, '')}"
        )


def reject_bad_row(file: str, bad: BadRow) -> Reject:
    """Return a row that could not be split into fields."""
    return Reject(file, bad.line, "", bad.code, bad.message, bad.raw)


def reject_problems(
    file: str, problems: Iterable[Problem], lines: Sequence[int], raw: Mapping[int, bytes]
) -> list[Reject]:
    """Return one reject a record, however many rules it breaks; `lines` and `raw` are by
    record.
    """
    by_record: dict[int, list[Problem]] = {}
    for problem in problems:
        by_record.setdefault(problem.record, []).append(problem)
    return [
        Reject(
            file,
            lines[record],
            found[0].column or "",
            found[0].code,
            _message(found),
            raw[record],
        )
        for record, found in by_record.items()
    ]


def _message(found: Sequence[Problem]) -> str:
    more = f"; and {len(found) - SAID} more" if len(found) > SAID else ""
    return "; ".join(problem.message for problem in found[:SAID]) + more


def with_texts(row: pl.DataFrame, odd: Callable[[Any], bool]) -> pl.DataFrame:
    """Return a row in which the cells of `odd` types, which the format of rejects cannot hold, are
    texts: bytes in base64, all others as JSON.
    """
    texts = [
        pl.Series(series.name, [_text(value) for value in series.to_list()], pl.String)
        for series in row.get_columns()
        if odd(series.dtype)
    ]
    return row.with_columns(texts)


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, enc_hook=str).decode().strip('"')


def encode_rejects(rejects: Iterable[Reject]) -> bytes:
    """Return one line of CSV each; the row comes last, in its own bytes, whatever they are."""
    return b"".join(map(_reject_line, rejects))


def _reject_line(reject: Reject) -> bytes:
    texts = (reject.file, str(reject.line), reject.column, reject.code, reject.message)
    cells = [text.encode() for text in texts] + [reject.raw]
    return b",".join(map(_quoted_bytes, cells)) + b"\n"


def _quoted_bytes(cell: bytes) -> bytes:
    """Latin-1 takes any byte to a character and back."""
    return quoted(cell.decode("latin-1")).encode("latin-1") if cell else b""
