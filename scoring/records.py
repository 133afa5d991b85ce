"""records -> Table: rows as they arrive become typed columns, and every broken rule is named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.errors import Problem, RecordError
from scoring.schema import Column, Kind, Schema, code_name, missing_code, other_code


@dataclass(frozen=True)
class Table:
    """N records as typed columns, in the schema's order within each kind.

    numbers: (N, numeric columns) float64, NaN where missing.
    codes: (N, discrete columns) int32, see `scoring.schema` for what a code means.
    texts: the raw values of each discrete column, to say what an unseen category was.
    """

    schema: Schema
    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    texts: Sequence[Sequence[Any]]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: NDArray[Any]) -> Table:
        """The same columns with only these rows, by index."""
        texts = [[text[i] for i in rows.tolist()] for text in self.texts]
        return Table(self.schema, self.numbers[rows], self.codes[rows], texts)

    def observed(self, row: int, column: Column) -> float | str | bool | None:
        """The value of one cell as JSON can carry it; None where it is missing."""
        at = self.schema.place[column.name]
        if column.kind is Kind.NUMERIC:
            number = float(self.numbers[row, at])
            return None if math.isnan(number) else int(number) if number.is_integer() else number
        code = int(self.codes[row, at])
        if column.kind is Kind.BOOLEAN:
            return None if code == missing_code(column) else bool(code)
        return str(self.texts[at][row]) if code == other_code(column) else code_name(column, code)


class _Bad(Exception):
    """A value breaks the rule of its column: (code, what it must be)."""


def parse_number(value: Any, column: Column) -> float:
    """A number as float64, NaN where missing. Infinity is refused."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Bad("type", f"column '{column.name}' must be a number, got {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise _Bad("range", f"column '{column.name}' must be a finite number, got infinity")
    return number


def parse_category(value: Any, column: Column) -> str | None:
    """A category's name: text as it is, an integer as its digits."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Bad("type", f"column '{column.name}' must be a text, got {kind_of(value)}")
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)


_BOOLEANS: dict[Any, int] = {"true": 1, "false": 0, "1": 1, "0": 0, True: 1, False: 0}


def parse_boolean(value: Any, column: Column) -> int | None:
    """1, 0, or None where missing."""
    if value is None or value != value:  # None or NaN
        return None
    key = value.strip().lower() if isinstance(value, str) else value
    try:
        return _BOOLEANS[key]
    except (KeyError, TypeError):
        rule = f"column '{column.name}' must be true, false, 0 or 1, got {kind_of(value)}"
        raise _Bad("type", rule) from None


def kind_of(value: Any) -> str:
    """The value's kind in JSON's words; never the value itself."""
    names = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null" if value is None else "a number")


def category_codes(column: Column) -> dict[str, int]:
    """category -> code, for the categories that have one of their own."""
    return {name: code for code, name in enumerate(column.categories)}


def parse_records(schema: Schema, records: Sequence[Any]) -> tuple[Table, tuple[Problem, ...]]:
    """Type and check every value; a record with a problem keeps its row, with the bad cells
    missing.
    """
    problems: list[Problem] = []
    kept = [_checked_record(schema, i, record, problems) for i, record in enumerate(records)]
    numbers = np.full((len(kept), len(schema.numeric)), math.nan)
    for j, column in enumerate(schema.numeric):
        for i, record in enumerate(kept):
            numbers[i, j] = _cell(parse_number, column, i, record, problems, math.nan)
    codes = np.empty((len(kept), len(schema.discrete)), dtype=np.int32)
    texts: list[list[Any]] = []
    for j, column in enumerate(schema.discrete):
        text, code = _discrete(column, kept, problems)
        codes[:, j] = code
        texts.append(text)
    problems.sort(key=lambda problem: problem.record)
    return Table(schema, numbers, codes, texts), tuple(problems)


def _checked_record(
    schema: Schema, index: int, record: Any, problems: list[Problem]
) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        rule = f"a record must be an object of column: value, got {kind_of(record)}"
        problems.append(Problem(index, None, "type", rule))
        return {}
    for column in schema.columns:
        if column.required and column.name not in record:
            rule = f"column '{column.name}' must be there; send null if its value is not known"
            problems.append(Problem(index, column.name, "missing", rule))
    return record


def _discrete(
    column: Column, records: Sequence[Mapping[str, Any]], problems: list[Problem]
) -> tuple[list[Any], list[int]]:
    if column.kind is Kind.BOOLEAN:
        values = [
            _cell(parse_boolean, column, i, r, problems, None) for i, r in enumerate(records)
        ]
        return values, [missing_code(column) if v is None else v for v in values]
    names = [_cell(parse_category, column, i, r, problems, None) for i, r in enumerate(records)]
    known, other, missing = category_codes(column), other_code(column), missing_code(column)
    return names, [missing if name is None else known.get(name, other) for name in names]


def _cell(
    parse: Any,
    column: Column,
    index: int,
    record: Mapping[str, Any],
    problems: list[Problem],
    fallback: Any,
) -> Any:
    try:
        return parse(record.get(column.name), column)
    except _Bad as bad:
        problems.append(Problem(index, column.name, *bad.args))
        return fallback


def table_of(schema: Schema, records: Sequence[Any]) -> Table:
    """The records as a Table, or a RecordError that names every problem."""
    table, problems = parse_records(schema, records)
    if problems:
        raise RecordError(problems)
    return table
