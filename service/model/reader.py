"""JSON -> rows: records that break no rule, decoded straight into a struct of the schema."""

from __future__ import annotations

from typing import Any

import msgspec

from vaewatch.scoring.schema import Schema
from vaewatch.scoring.structs import UNREADABLE, StructReader, Structs


class RecordReader(StructReader):
    """Reads the records of one schema, at most `max_records` at a time.

    It answers None for anything that it cannot take as it stands, an empty list and one record too
    many included: only `vaewatch.service.score.messages` can say what is wrong.
    """

    def __init__(self, schema: Schema, max_records: int) -> None:
        super().__init__(schema)
        self.max_records = max_records
        record: Any = self.record
        body: Any = record and msgspec.defstruct(
            "Body", [("records", list[record])], forbid_unknown_fields=True
        )
        self._body: Any = msgspec.json.Decoder(body) if body else None
        self._array: Any = msgspec.json.Decoder(list[record]) if record else None
        self._lines: Any = msgspec.json.Decoder(record) if record else None

    def rows(self, body: bytes) -> Structs | None:
        """Read the records of `{"records": [...]}`, or of an array."""
        if self._body is None:
            return None
        try:
            array = body[:1] == b"["
            rows = self._array.decode(body) if array else self._body.decode(body).records
        except UNREADABLE:
            return None
        return self._checked(rows)

    def rows_of_lines(self, body: bytes) -> Structs | None:
        """Read one record a line."""
        try:
            # one by one: `decode_lines` takes two objects on a line, and one on two lines
            rows = list(map(self._lines.decode, lines_of(body))) if self._lines else None
        except UNREADABLE:
            return None
        return self._checked(rows)

    def _checked(self, rows: Structs | None) -> Structs | None:
        if not rows or len(rows) > self.max_records:
            return None
        return rows if self.plain(rows) else None


def lines_of(body: bytes) -> list[bytes]:
    """Split a body into its lines; blank ones are skipped."""
    return [line for line in body.splitlines() if line.strip()]
