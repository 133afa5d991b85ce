"""the start of a CSV file -> its Header: names, delimiter and line ends."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import BOM, Header, bare, read_start
from vaewatch.scoring.files.foreign import (
    decoded,
    refuse_comment,
    refuse_doubled,
    refuse_odd_mark,
    refuse_quotes,
    refuse_title,
)
from vaewatch.scoring.spelling.categories import BLANKS
from vaewatch.scoring.time.texts import moment_of_text

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = ",;\t|"
ODD_DELIMITERS = "~^\x01\x1f"  # only if no other one fits
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 16, 20  # that show how many fields a row has
SEPARATOR = re.compile(rb'"?sep=([^\r\n])"?\r?\n', re.IGNORECASE)  # Excel's own first line
UNNAMED = "Unnamed: "  # a column without a name, as pandas calls it; its index follows
SECOND_LINE = "leave the first line out: tail -n +2 FILE | vaewatch train - ..."
_WHOLE, _CLOCK = re.compile(r"[0-9]+"), re.compile(r"[0-9]:[0-9]")


def read_header(
    stream: BinaryIO, delimiter: str | None = None, known: Collection[str] = ()
) -> tuple[Header, bytes]:
    """Return the header, and the bytes that were read beyond it. Names lose the blanks around
    them, except those `known` to have some.
    """
    whole = read_start(stream)
    returns = b"\n" not in whole and b"\r" in whole
    data = whole.replace(b"\r", b"\n") if returns else whole
    while data.startswith(BOM):  # Windows' tools may put one before another
        data = data.removeprefix(BOM)
    lines = 0
    if (separator := SEPARATOR.match(data)) is not None:
        delimiter, lines = delimiter or separator[1].decode("latin-1"), 1
        data = data[separator.end() :]
    line = _first_row(data)
    rest = data[len(line) :]
    raw = bare(line)
    if not raw.strip():
        rule = "the input must start with a header row of column names, got nothing."
        remedy = " Remove the empty lines before it: sed '/./,$!d' FILE | vaewatch train - ..."
        raise SchemaError(rule + (remedy if rest.strip() else ""))
    text = decoded(raw)
    if delimiter is None and text not in known:
        delimiter = _delimiter_of(text, rest, lines)
    names = _fields(text, delimiter := delimiter or DELIMITERS[0])
    names = [name if name in known else name.strip(BLANKS) for name in names]
    if _ends_with_delimiter(rest, len(names), delimiter):
        names, raw = [*names, ""], raw + delimiter.encode()
    header = Header(
        names=_checked_names(names, delimiter),
        raw=raw,
        delimiter=delimiter,
        line_end=b"\r\n" if line.endswith(b"\r\n") else b"\n",
        size=len(whole) - len(rest),
        lines=lines + 1 + raw.count(b"\n"),
        returns=returns,
    )
    return header, rest


def _first_row(data: bytes) -> bytes:
    """Return the bytes up to the first line end outside quotes, or all of them."""
    end, within = -1, 0
    while (at := data.find(b"\n", end + 1)) >= 0:
        within ^= data.count(b'"', end + 1, at) & 1
        end = at
        if not within:
            return data[: end + 1]
    return data


def _delimiter_of(text: str, rest: bytes, lines: int) -> str:
    """Return the delimiter of a header, after so many lines, and refuse what is no header; the
    first rows decide where several are possible.
    """
    rows = _first_lines(rest)
    found = [mark for mark in DELIMITERS if mark in text]
    if len(found) == 1 and '"' not in text:
        mark = found[0]
    elif found:
        mark = max(found, key=lambda mark: _fits(text, rows, mark))
    else:
        mark = _odd_delimiter_of(text, rows, lines)
    refuse_comment(text, rows, alike=_fits(text, rows, mark)[0])
    refuse_quotes(_fields(text, mark), DELIMITERS)
    return mark


def _odd_delimiter_of(text: str, rows: str, lines: int) -> str:
    """Return the delimiter of a header without a usual one; a comma if it names one column."""
    for mark in ODD_DELIMITERS:
        if mark in text and all(_fits(text, rows, mark)):
            return mark
    _refuse_blanks(text, rows)
    refuse_odd_mark(text, rows)
    if not text.startswith("#"):
        split = [_rows(rows, mark) for mark in DELIMITERS]
        refuse_title(max(split, key=lambda found: sum(map(len, found))), lines)
    return DELIMITERS[0]


def _first_lines(rest: bytes) -> str:
    """Return the first rows, whole ones only."""
    sample = rest[:SAMPLE_BYTES]
    return sample[: sample.rfind(b"\n") + 1].decode("utf-8", "replace")


def _fits(text: str, rows: str, mark: str) -> tuple[bool, int]:
    """Return whether the first rows have as many fields as the header, and how many those are."""
    width = len(_fields(text, mark))
    widths = [len(row) for row in _rows(rows, mark) if row]
    alike = sum(n in (width, width + 1) for n in widths) >= len(widths) / 2
    return width > 1 and alike, width


def _rows(rows: str, mark: str) -> list[list[str]]:
    try:
        return list(islice(csv.reader(io.StringIO(rows, newline=""), delimiter=mark), SAMPLE_ROWS))
    except csv.Error:
        return []


def _fields(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _refuse_blanks(text: str, rows: str) -> None:
    """Refuse columns that blanks part, which would be read as one column of texts."""
    width = len(text.split())
    some = [line.split() for line in rows.splitlines()[:SAMPLE_ROWS] if line.strip()]
    if width < 2 or not some or any(len(row) != width for row in some):
        return
    if "  " in text.strip() or any("  " in line.strip() for line in rows.splitlines()):
        raise _blanks()
    raise SchemaError(
        f"columns must be separated by one of , ; tab and |, but {width} seem to be separated by "
        "blanks. Pass --delimiter ' ', or --delimiter , if this is one column of texts."
    )


def _blanks() -> SchemaError:
    return SchemaError(
        "columns must be separated by a single mark, but here several blanks separate them. Turn "
        "them into tabs: sed 's/^ *//; s/  */\\t/g' FILE | vaewatch train - ..."
    )


def _ends_with_delimiter(rest: bytes, width: int, delimiter: str) -> bool:
    """Return whether the rows end with a delimiter although the header does not."""
    first, mark = bare(_first_row(rest)), delimiter.encode()
    if width < 2 or first.count(mark) < width or not first.endswith(mark):
        return False
    rows = _rows(_first_lines(rest), delimiter)
    return bool(rows) and all(len(row) == width + 1 and not row[-1] for row in rows if row)


def _checked_names(names: Sequence[str], delimiter: str) -> tuple[str, ...]:
    """Name what has no name at the start, where pandas and R write a row's number or name, and at
    the end, where a delimiter ends each row.
    """
    given = len(names)
    while given > 1 and not names[given - 1]:
        given -= 1
    for at, name in enumerate(names[1:given], 1):
        if not name:
            if delimiter == " ":
                raise _blanks()
            refuse_doubled(names[:given], delimiter)
            raise SchemaError(
                f"column {at + 1} must have a name in the header, got none. If the names stand in "
                f"the next line, {SECOND_LINE}"
            )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise SchemaError(
            f"column names must differ, but '{twice[0]}' is there {names.count(twice[0])} times. "
            f"{put_before(names, delimiter)} If there are two lines of names, {SECOND_LINE}"
        )
    return tuple(name or _placeholder(at, names) for at, name in enumerate(names))


def _placeholder(at: int, names: Sequence[str]) -> str:
    """Name a column as pandas does, also where that name is taken, as after two of its trips."""
    name, more = f"{UNNAMED}{at}", 0
    while name in names:
        more += 1
        name = f"{UNNAMED}{at}.{more}"
    return name


def put_before(names: Sequence[str], delimiter: str) -> str:
    """Return what to do with a file that has no header."""
    example = delimiter.join(f"c{i}" for i in range(1, len(names) + 1))
    return (
        "If the first line is a record, put a line of names before it: "
        f"(echo '{example}'; cat FILE) | vaewatch train - ... (of a .gz file, zcat FILE)"
    )


def refuse_record(header: Header, rest: bytes = b"") -> None:
    """Refuse a header that holds numbers, or a time above a time, since it is a record, or says
    something of the file. Names that count, such as those of years, are names. rest: what follows
    it, as far as read.
    """
    second = next(iter(_rows(_first_lines(rest), header.delimiter)), [])
    above = zip(header.names, second, strict=False)
    moments = [name for name, below in above if _is_moment(name) and _is_moment(below)]
    numbers = [name for name in header.names if _is_number(name)]
    if not moments and (not numbers or _count_up(numbers)):
        return
    remedy = put_before(header.names, header.delimiter)
    if len(second) > 1 and all(name and not _is_number(name) for name in second):
        remedy = f"If the names stand in the next line, {SECOND_LINE}"
    what = f"'{numbers[0]}' is a number" if numbers else f"'{moments[0]}' is a time"
    raise SchemaError(f"the first line must hold the names of the columns, but {what}. {remedy}")


def refuse_values(frame: pl.DataFrame, header: Header, *, again: bool = False) -> None:
    """Refuse a header each of whose fields is a value of its own column, too: it is a record.
    Where a row that is not in the frame is the header `again`, one such field is enough.
    """
    values = [bool((frame[name] == name).any()) for name in frame.columns]
    if all(values) or (again and any(values)):
        raise SchemaError(
            "the first line must hold the names of the columns, but each of its fields is a value "
            f"of its own column, too. {put_before(header.names, header.delimiter)} If files were "
            "joined, remove the headers in between."
        )


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return name.lower().lstrip("+-") not in ("nan", "inf", "infinity")


def _is_moment(text: str) -> bool:
    return _CLOCK.search(text) is not None and moment_of_text(text) is not None


def _count_up(numbers: Sequence[str]) -> bool:
    if not all(map(_WHOLE.fullmatch, numbers)):
        return False
    first = int(numbers[0])
    return len(numbers) > 1 and [int(n) for n in numbers] == list(
        range(first, first + len(numbers))
    )
