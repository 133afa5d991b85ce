"""JSON bodies -> tables: structs made from the schema, decoded and type-checked in one pass.

A body that the structs refuse is read again the slow way, by `scoring.records.parse_records`,
which names every broken rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from operator import attrgetter
from struct import Struct
from struct import error as PackError
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import astuple
from numpy.typing import NDArray

from scoring.errors import Problem
from scoring.records import Table, category_codes, kind_of, parse_category, parse_records
from scoring.schema import Column, Kind, Schema, missing_code, other_code
from service.problems import Malformed, TooLarge

Rows = list[Any]  # structs of one schema


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


UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_BOOLEANS: dict[Any, int] = {None: 2, True: 1, False: 0, "true": 1, "false": 0, "1": 1, "0": 0}
_decode_any = msgspec.json.Decoder().decode


class RecordReader:
    """Reads the records of one schema."""

    def __init__(self, schema: Schema, max_records: int) -> None:
        self.schema, self.max_records = schema, max_records
        discrete = [attrgetter(f"d{j}") for j in range(len(schema.discrete))]
        self._columns = [
            (column, get, _codes_of(column), other_code(column))
            for column, get in zip(schema.discrete, discrete, strict=True)
        ]
        booleans = [f"d{j}" for j, c in enumerate(schema.discrete) if c.kind is Kind.BOOLEAN]
        self._booleans = [attrgetter(field) for field in booleans]
        self._pack = Struct(f"{len(schema.numeric)}d").pack
        record: Any = _struct_of(schema)
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
            rows = self._lines.decode_lines(body) if self._lines else None
        except UNREADABLE:
            return None
        return self._checked(rows)

    def _checked(self, rows: Rows | None) -> Rows | None:
        if not rows or len(rows) > self.max_records:
            return None
        plain = (_BOOLEANS.keys() >= set(map(get, rows)) for get in self._booleans)
        return rows if all(plain) else None

    def table(self, rows: Rows) -> Table:
        """Structs -> Table, the same cells as `parse_records` makes."""
        codes: list[list[int]] = []
        texts: list[Sequence[Any]] = []
        for column, get, known, other in self._columns:
            values = list(map(get, rows))
            code = [known.get(value, other) for value in values]
            if other in code and column.kind is Kind.CATEGORICAL:
                for i in [i for i, c in enumerate(code) if c == other]:
                    values[i] = parse_category(values[i], column)
            codes.append(code)
            texts.append(values)
        shaped = np.array(codes, np.int32).reshape(len(codes), len(rows)).T
        return Table(self.schema, self._number_array(rows), shaped, texts)

    def ids(self, rows: Rows) -> Sequence[Any] | None:
        """What records hold in the id column, as they gave it; None: the schema names none."""
        return None if self.schema.id is None else [row.id for row in rows]

    def _number_array(self, rows: Rows) -> NDArray[np.float64]:
        width = len(self.schema.numeric)
        numbers = [values[:width] for values in map(astuple, rows)]  # their fields come first
        try:
            packed = b"".join(starmap(self._pack, numbers))  # half of the time of numpy's reading
        except PackError:  # a null: only numpy reads None as NaN
            return np.array(numbers, np.float64).reshape(len(rows), width)
        return np.frombuffer(packed).reshape(len(rows), width)

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
        lines = [line for line in body.splitlines() if line.strip()]
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


def _struct_of(schema: Schema) -> Any:
    """A struct type with one field a column; None where a column's name cannot be one."""
    discrete: dict[Kind, Any] = {
        Kind.CATEGORICAL: str | int | float | None,
        Kind.BOOLEAN: bool | int | float | str | None,
    }
    kinds = [(f"n{j}", c, float | None) for j, c in enumerate(schema.numeric)]
    kinds += [(f"d{j}", c, discrete[c.kind]) for j, c in enumerate(schema.discrete)]
    fields: list[Any] = [(f, kind) if c.required else (f, kind, None) for f, c, kind in kinds]
    names = {field: column.name for field, column, _ in kinds}
    if schema.id is not None:
        fields.append(("id", Any, UNSET))
        names["id"] = schema.id
    try:
        record = msgspec.defstruct("Record", fields, rename=names, kw_only=True, gc=False)
        msgspec.json.Decoder(record)
    except ValueError:  # a quote, a backslash or a control character in a name
        return None
    return record


def _codes_of(column: Column) -> dict[Any, int]:
    """Every JSON value that means a category -> its code; all others are the 'other' bucket."""
    if column.kind is Kind.BOOLEAN:
        return _BOOLEANS
    codes: dict[Any, int] = {None: missing_code(column), "": missing_code(column)}
    for name, code in category_codes(column).items():
        codes[name] = code
        number = _as_number(name)
        if number is not None and parse_category(number, column) == name:
            codes[number] = code
    return codes


def _as_number(name: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(name)
        except ValueError:
            continue
    return None
