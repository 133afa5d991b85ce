"""JSON bodies -> structs of the schema, or records the slow way, which names each broken rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.structs import UNREADABLE, Rows, StructReader
from vaewatch.scoring.table import Table, kind_of, parse_records
from vaewatch.service.http.problems import Malformed, TooLarge


class Parsed(NamedTuple):
    """Records read the exact way. `places` says which record each row of the table is, where some
    records have no row at all.
    """

    table: Table
    problems: tuple[Problem, ...]
    records: int
    places: NDArray[np.int64]
    ids: Sequence[Any] | None = None  # of all records

    @classmethod
    def of(cls, schema: Schema, records: Sequence[Any]) -> Parsed:
        table, problems = parse_records(schema, records)
        ids = None if schema.id is None else [_id_of(record, schema.id) for record in records]
        return cls(table, problems, len(table), np.arange(len(table)), ids)


def _id_of(record: Any, column: str) -> Any:
    return record.get(column, UNSET) if isinstance(record, dict) else UNSET


_decode_any = msgspec.json.Decoder().decode


class RecordReader(StructReader):
    """Reads the records of one schema."""

    def __init__(self, schema: Schema, max_records: int) -> None:
        super().__init__(schema)
        self.max_records = max_records
        record: Any = self.record
        body: Any = record and msgspec.defstruct("Body", [("records", list[record])])
        self._body: Any = msgspec.json.Decoder(body) if body else None
        self._lines: Any = msgspec.json.Decoder(record) if record else None

    def rows(self, body: bytes) -> Rows | None:
        """The records of `{"records": [...]}`; None if only the slow way can say what is wrong."""
        try:
            rows = self._body.decode(body).records if self._body else None
        except UNREADABLE:
            return None
        return self._checked(rows)

    def rows_of_lines(self, body: bytes) -> Rows | None:
        """The same for one record a line."""
        try:
            # one by one: `decode_lines` takes two objects on a line, and one on two lines
            rows = list(map(self._lines.decode, _lines_of(body))) if self._lines else None
        except UNREADABLE:
            return None
        return self._checked(rows)

    def _checked(self, rows: Rows | None) -> Rows | None:
        if not rows or len(rows) > self.max_records:
            return None
        return rows if self.plain(rows) else None

    def parse(self, body: bytes) -> Parsed:
        """`{"records": [...]}` the slow way; every broken rule is named."""
        data = _decoded(body)
        if not isinstance(data, dict) or not isinstance(data.get("records"), list):
            got = (
                f"'records' as {kind_of(data.get('records'))}"
                if _has_records(data)
                else ("an object without it" if isinstance(data, dict) else kind_of(data))
            )
            raise Malformed(
                f'the body must be an object {{"records": [{{...}}, ...]}}, got {got}.'
            )
        self.check_count(len(data["records"]))
        return Parsed.of(self.schema, data["records"])

    def parse_lines(self, body: bytes) -> Parsed:
        """One record a line, the slow way; blank lines are skipped."""
        lines = _lines_of(body)
        self.check_count(len(lines))
        records = [_decoded(line, i) for i, line in enumerate(lines)]
        return Parsed.of(self.schema, records)

    def check_count(self, n: int) -> None:
        """Refuse an empty request, and one of too many records."""
        if not n:
            raise Malformed("the body must hold at least one record, got none.")
        if n > self.max_records:
            raise TooLarge(
                f"a request must hold at most {self.max_records:,} records, got {n:,}. "
                "Send it in parts."
            )


def _lines_of(body: bytes) -> list[bytes]:
    return [line for line in body.splitlines() if line.strip()]


def _has_records(data: Any) -> bool:
    return isinstance(data, dict) and "records" in data


def _decoded(body: bytes, line: int | None = None) -> Any:
    where = "the body" if line is None else f"record {line}"
    try:
        return _decode_any(body)
    except RecursionError:
        raise Malformed(f"{where} must be JSON, got values nested too deep.") from None
    except UnicodeDecodeError:
        raise Malformed(f"{where} must be JSON in UTF-8, got other bytes.") from None
    except msgspec.DecodeError as error:
        raise Malformed(f"{where} must be JSON: {_without_value(error)}.") from None


def _without_value(error: msgspec.DecodeError) -> str:
    """msgspec says what and where; it quotes nothing of the body."""
    return str(error).removeprefix("JSON is malformed: ")
