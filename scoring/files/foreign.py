"""the start of a file that is no plain CSV -> an error that says what it is, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import WINDOWS

TRAIN = "| vaewatch train - ..."
ZIP = "a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV"
SIGNS = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"\x1f\x8b": "a file that gzip packed; name it .gz, or unpack it: zcat",
    b"\x28\xb5\x2f\xfd": "a file that zstd packed; name it .zst, or unpack it: zstdcat",
    b"PK\x03\x04": ZIP,
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    b"BZh": "a file that bzip2 packed; unpack it: bzcat",
    b"\xfd7zXZ": "a file that xz packed; unpack it: xzcat",
    b"ARROW1": "an Arrow or Feather file; write it as Parquet",
    b"SQLite format 3": "a SQLite database; export the table as CSV",
}
ENCODINGS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",  # how Excel's "Unicode text" starts
    b"\xfe\xff": "UTF-16",
}
ODD_MARKS = ":#!*&@"  # that may part columns, but may as well stand in texts
DOUBLED = "|:#~@"
JQ = "jq -c '.[]' FILE makes lines of an array"
SPREAD = (
    "but here one goes over several lines; jq -c . FILE makes one line of each, and jq -c "
    "'.NAME[]' FILE one of each record in the array NAME"
)
NESTED = (
    "got arrays or objects alone; pandas writes records with to_json(orient='records'), and jq -c "
    "'.NAME[]' FILE takes them out of the array NAME"
)
NO_JSON = re.compile(rb"[:\s](NaN|-?Infinity)\b")  # as Python writes them
FEWEST = 2  # rows that show how a file is parted


def decoded(raw: bytes) -> str:
    """Return the text of a header; refuse what is no text, or another format than CSV."""
    for sign, what in SIGNS.items():
        if raw.startswith(sign):
            raise SchemaError(f"the input must be CSV, got {what}.")
    refuse_encoding(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        remedy = f"{WINDOWS}, if it is Western European"
        rule = "the input must be UTF-8 text, but its header is not."
        raise SchemaError(f"{rule} Convert it: {remedy}.") from None
    if re.match(r"(\0[ -~]){3}|([ -~]\0){3}", text):
        remedy = f"iconv -f UTF-16{'BE' if text[0] == chr(0) else 'LE'} -t UTF-8"
        raise SchemaError(f"the input must be UTF-8 text, got UTF-16. Convert it: {remedy}.")
    if "\0" in text:
        raise SchemaError("the input must be CSV, got a binary file.")
    if re.match(r'\s*(\{\s*("|$)|\[\s*(\{|$))', text):
        raise SchemaError(
            "the input must start with a header row of column names, got JSON. Name the file "
            ".json, or send it as application/json."
        )
    return text


def refuse_encoding(raw: bytes) -> None:
    """Refuse a file whose first bytes name another encoding than UTF-8."""
    for sign, name in ENCODINGS.items():
        if raw.startswith(sign):
            raise SchemaError(
                f"the input must be UTF-8 text, got {name}. Convert it: iconv -f {name} -t UTF-8."
            )


def refuse_comment(text: str, rows: str, alike: bool) -> None:
    """Refuse a comment in the place of the header. `alike`: it has as many fields as the rows."""
    if text.startswith("#") and (rows.startswith("#") or not alike):
        raise SchemaError(
            "the first line must hold the names of the columns, but it is a comment. Leave such "
            f"lines out: grep -v '^#' FILE {TRAIN}"
        )


def refuse_title(rows: Sequence[Sequence[str]], before: int) -> None:
    """Refuse a header of one field before rows of several. `before`: the lines before it."""
    widths = [len(row) for row in rows]
    width = max(set(widths), key=widths.count, default=1)
    if width > 1 and widths.count(width) >= max(FEWEST, len(widths) / 2):
        line = widths.index(width) + before + 2
        raise SchemaError(
            "the first line must hold the names of the columns, but it has 1 field, and the rows "
            f"have {width}. If line {line} holds the names, leave out what is before it: tail -n "
            f"+{line} FILE {TRAIN}"
        )


def refuse_odd_mark(text: str, rows: str) -> None:
    """Refuse columns that seem to be separated by a mark that is no delimiter by itself."""
    lines = [line for line in rows.splitlines() if line.strip()]
    for mark in ODD_MARKS:
        count = text.count(mark)
        if count and len(lines) >= FEWEST and all(line.count(mark) == count for line in lines):
            raise SchemaError(
                f"columns must be separated by one of , ; tab and |, but {count + 1} seem to be "
                f"separated by '{mark}'. Pass --delimiter '{mark}', or --delimiter , if this is "
                "one column of texts."
            )


def refuse_quotes(names: Sequence[str], marks: str) -> None:
    """Refuse names in single quotes, and lines that are in quotes as a whole."""
    if all(len(name) > 1 and name[0] == name[-1] == "'" for name in names):
        remedy = f"""tr "'" '"' < FILE {TRAIN}"""
        raise SchemaError(f"fields must be in double quotes, got single ones. Mend it: {remedy}")
    if len(names) == 1 and any(mark in names[0] for mark in marks):
        remedy = f"""sed 's/^"//; s/"$//; s/""/"/g' FILE {TRAIN}"""
        raise SchemaError(
            f"fields must be in quotes one by one, but '{names[0]}' is one field. If it is "
            f"several, take away the quotes around each line: {remedy}"
        )


def refuse_doubled(names: Sequence[str], delimiter: str) -> None:
    """Refuse a delimiter of two marks, after which every other name is empty; two commas may as
    well have an empty field between them.
    """
    doubled = all(names[::2]) and not any(names[1::2]) and len(names) > 2
    if doubled and delimiter in DOUBLED:
        raise SchemaError(
            f"columns must be separated by a single mark, but here it is '{delimiter * 2}'. Make "
            f"it one: sed 's/{delimiter * 2}/{delimiter}/g' FILE {TRAIN}"
        )


def why_no_json(raw: bytes, *, first: bool) -> str:
    """Return what a line of NDJSON must be, and what it seems to be; the `first` one tells of the
    file.
    """
    rule = "a line must be a JSON object"
    if raw.lstrip()[:1] == b"[":
        return f"{rule}, and no array; {JQ}"
    if first and raw.lstrip()[:1] == b"{" and raw.rstrip()[-1:] != b"}":
        return f"{rule}, {SPREAD}"
    return rule + no_such_number(raw)


def no_such_number(raw: bytes) -> str:
    """Return a clause on a number that Python writes and JSON has not; empty if none is there."""
    odd = NO_JSON.search(raw)
    return f", which has no {odd[1].decode()}; write null" if odd else ""
