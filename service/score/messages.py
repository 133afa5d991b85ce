"""bodies -> records that are checked one by one, so that each broken rule is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.spelling.values import kind_of
from vaewatch.scoring.table import Table, parse_records
from vaewatch.service.http.problems import Malformed, TooLarge
from vaewatch.service.model.reader import RecordReader, lines_of


class CheckedRecords(NamedTuple):
    """Records that were checked one by one.

    n: how many there are.
    places: (len(table),) which record each row of the table is; some records may have no row.
    ids: of all records; None if the schema names no id column.
    """

    table: Table
    problems: tuple[Problem, ...]
    n: int
    places: NDArray[np.int64]
    ids: Sequence[Any] | None = None

    @classmethod
    def of(cls, schema: Schema, records: Sequence[Any]) -> CheckedRecords:
        table, problems = parse_records(schema, records)
        ids = None if schema.id is None else [_id_of(record, schema.id) for record in records]
        return cls(table, problems, len(table), np.arange(len(table)), ids)


def _id_of(record: Any, column: str) -> Any:
    return record.get(column, UNSET) if isinstance(record, dict) else UNSET


MOST_NAMES, LONGEST_NAME = 5, 40  # of unknown members
BOM = b"\xef\xbb\xbf"
LOOKED_BACK = 4  # bytes from the start of a word to where the parser gives up: that of `null`
_BYTE = re.compile(r"\(byte (\d+)\)")
_NOT_JSON = re.compile(rb"-?(nan|inf(inity)?)\b", re.IGNORECASE)
_decode_any = msgspec.json.Decoder().decode


def parse(reader: RecordReader, body: bytes) -> CheckedRecords:
    """Read `{"records": [...]}`, or an array."""
    data = _decoded(body)
    records = data.get("records") if isinstance(data, dict) else data
    if not isinstance(records, list):
        raise Malformed(
            'the body must be an object {"records": [{...}, ...]}, or an array of records, got '
            f"{_kind_of(data)}."
        )
    if isinstance(data, dict) and len(data) > 1:
        raise Malformed(
            f"the body must have no members but 'records', got {_names_of(data)}, too. "
            "Options are in the query."
        )
    check_count(len(records), reader.max_records)
    return CheckedRecords.of(reader.schema, records)


def _kind_of(data: Any) -> str:
    if not isinstance(data, dict):
        return kind_of(data)
    if "records" not in data:
        if data and all(map(_is_column, data.values())):
            return "columns; pandas writes records with to_json(orient='records')"
        return "an object without it" + (f" but with {_names_of(data)}" if data else "")
    return f"'records' as {kind_of(data['records'])}"


def _is_column(member: Any) -> bool:
    """Whether a member holds the values of a column, by their places or in order."""
    if isinstance(member, list):
        return bool(member) and not isinstance(member[0], dict)
    return isinstance(member, dict)


def _names_of(data: dict[str, Any]) -> str:
    """The first of the unknown members, so that a misspelt one is found."""
    names = [name for name in data if name != "records"]
    shown = [ascii(name[:LONGEST_NAME]) for name in names[:MOST_NAMES]]
    return ", ".join(shown) + (f" and {len(names) - MOST_NAMES} more" * (len(names) > MOST_NAMES))


def parse_lines(reader: RecordReader, body: bytes) -> CheckedRecords:
    """Read one record a line; blank lines are skipped."""
    lines = lines_of(body)
    check_count(len(lines), reader.max_records)
    records = [_decoded(line, i) for i, line in enumerate(lines)]
    return CheckedRecords.of(reader.schema, records)


def check_count(n: int, most: int) -> None:
    """Refuse a request of no records, and one of too many."""
    if not n:
        raise Malformed("the body must hold at least one record, got none.")
    if n > most:
        raise TooLarge(
            f"a request must hold at most {most:,} records, got {n:,}. Send it in parts."
        )


def _decoded(body: bytes, line: int | None = None) -> Any:
    where = "the body" if line is None else f"record {line}"
    if not body.strip():
        raise Malformed(f'{where} must be JSON, got nothing: send {{"records": [{{...}}, ...]}}.')
    try:
        return _decode_any(body.removeprefix(BOM))
    except RecursionError:
        raise Malformed(f"{where} must be JSON, got values nested too deep.") from None
    except UnicodeDecodeError:
        raise Malformed(f"{where} must be JSON in UTF-8, got other bytes.") from None
    except msgspec.DecodeError as error:
        if _is_no_number(body.removeprefix(BOM), error):
            raise Malformed(
                f"{where} must be JSON, which has no NaN and no Infinity: send null for a value "
                "that is missing."
            ) from None
        raise Malformed(f"{where} must be JSON: {_without_value(error)}.") from None


def _is_no_number(body: bytes, error: msgspec.DecodeError) -> bool:
    """Whether JSON ends at one of the numbers that Python and others write, and JSON lacks."""
    at = _BYTE.search(str(error))
    if at is None:
        return False
    return any(
        _NOT_JSON.match(body, start) is not None
        for start in range(max(0, int(at[1]) - LOOKED_BACK), int(at[1]) + 1)
    )


def _without_value(error: msgspec.DecodeError) -> str:
    """msgspec says what and where; it quotes nothing of the body."""
    return str(error).removeprefix("JSON is malformed: ")
