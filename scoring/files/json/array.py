"""A JSON array of records -> lines of JSON, one for each record.

A record keeps its bytes, so that numbers stand as they came, and is on the line where it begins in
the file, so that an error finds it there. If several begin on one line, as all do in a file
without line breaks, each has a line of its own.
"""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import BOM
from vaewatch.scoring.files.foreign import no_such_number, refuse_encoding

RULE = "the input must be an array of records in JSON"
_ARRAY = re.compile(rb"(\xef\xbb\xbf)?\s*\[")
_OBJECTS = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\])")
_BREAK = re.compile(rb"\r?\n\s*")
_BYTE = re.compile(r" \(byte ([0-9]+)\)$")
NEAR = 20  # bytes
NEWLINE = b"\n"
_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def begins_array(start: bytes) -> bool:
    """Return whether the start of a file without a name is that of an array of records."""
    return _OBJECTS.match(start) is not None


def in_lines(stream: Any) -> Any:
    """Return a stream of JSON that can be peeked into, as one of lines: an array is read as a
    whole, into memory; all else is left as it is.

    Raises:
        SchemaError: the array is broken, or the text is not UTF-8.
    """
    start = stream.peek(1)
    refuse_encoding(start)
    if _ARRAY.match(start) is None:
        return stream
    return lines_of_array(stream.read().removeprefix(BOM))


def lines_of_array(data: bytes) -> io.BytesIO:
    """Put the members of an array on lines.

    Raises:
        SchemaError: it is no JSON; with the line.
    """
    try:
        members = _decoder.decode(data)
    except RecursionError as error:
        raise SchemaError(f"{RULE}, got values nested too deep.") from error
    except msgspec.DecodeError as error:
        raise _broken(data, str(error)) from error
    lines, at, ended = io.BytesIO(), 0, True
    for member in members:
        record = bytes(member)
        start, within = data.index(record, at), record.count(NEWLINE)
        before = data.count(NEWLINE, at, start) or int(not ended)
        # in JSON no text holds a line break: these are between the parts of a record
        flat = _BREAK.sub(b" ", record) if within else record
        lines.write(NEWLINE * before + flat + NEWLINE * within)
        at, ended = start + len(record), within > 0
    lines.seek(0)
    return lines


def _broken(data: bytes, found: str) -> SchemaError:
    place = _BYTE.search(found)
    at = int(place[1]) if place else len(data)
    line = data.count(NEWLINE, 0, at) + 1
    if odd := no_such_number(data[max(at - NEAR, 0) : at + NEAR]):
        return SchemaError(f"{RULE}{odd} (line {line}).")
    what = _BYTE.sub("", found).removeprefix("JSON is malformed: ") if place else "it ends here"
    return SchemaError(f"{RULE}, but line {line} breaks it: {what}. Mend it there.")
