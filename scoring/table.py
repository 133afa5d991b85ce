"""records -> Table: typed columns, with every broken rule named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem, RecordError
from vaewatch.scoring.schema import (
    Column,
    Kind,
    Schema,
    code_name,
    missing_code,
    other_code,
)
from vaewatch.scoring.series.entity import entities_of_records
from vaewatch.scoring.spelling.likeness import like
from vaewatch.scoring.spelling.values import (
    BadCell,
    category_codes,
    kind_of,
    parse_boolean,
    parse_category,
    parse_number,
)
from vaewatch.scoring.time.calendar import calendar_of
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.parts import shown
from vaewatch.scoring.time.time import LostTime, Time, UnreadableTime
from vaewatch.scoring.time.values import moments_of

# hints at misspelt names in a batch, and names that each looks at: to compare them takes long
MOST_HINTS, LOOKED_AT = 20, 10
LARGEST_INTEGER = 2**53  # above, a float64 stands for several integers, in digits nobody wrote


@dataclass(frozen=True)
class Table:
    """N records as typed columns, in the schema's order within each kind.

    Attributes:
        numbers: (N, numeric columns) float64, NaN where missing.
        codes: (N, discrete columns) int32; `vaewatch.scoring.schema.code_name` names a code.
        texts: the raw values of each discrete column, to name an unseen category in a reason.
        times: (N,) microseconds since 1970, NO_TIME where missing; None without a time column.
        entities: of each record, its name; None without an entity column.
    """

    schema: Schema
    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
    texts: Sequence[Sequence[Any]]
    times: NDArray[np.int64] | None = None
    entities: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: NDArray[Any]) -> Table:
        """Return the rows at these indices."""
        texts = [
            text.gather(rows) if hasattr(text, "gather") else [text[i] for i in rows.tolist()]
            for text in self.texts
        ]
        times = None if self.times is None else self.times[rows]
        own = None if self.entities is None else [self.entities[i] for i in rows.tolist()]
        return Table(self.schema, self.numbers[rows], self.codes[rows], texts, times, own)

    def join(self, other: Table) -> Table:
        """Return these rows followed by the other table's."""
        texts = [[*mine, *its] for mine, its in zip(self.texts, other.texts, strict=True)]
        numbers = np.concatenate([self.numbers, other.numbers])
        codes, times, entities = np.concatenate([self.codes, other.codes]), None, None
        if self.times is not None and other.times is not None:
            times = np.concatenate([self.times, other.times])
        if self.entities is not None and other.entities is not None:
            entities = [*self.entities, *other.entities]
        return Table(self.schema, numbers, codes, texts, times, entities)

    def observed(self, row: int, column: Column) -> float | str | bool | None:
        """Return one cell's value as JSON can carry it; None if it is missing."""
        at = self.schema.place[column.name]
        if column.is_number:
            number = float(self.numbers[row, at])
            if math.isnan(number):
                return None
            if column.part is not None:
                return shown(number, column.part)
            whole = number.is_integer() and abs(number) < LARGEST_INTEGER
            return int(number) if whole else number
        code = int(self.codes[row, at])
        if column.kind is Kind.BOOLEAN:
            return None if code == missing_code(column) else bool(code)
        return str(self.texts[at][row]) if code == other_code(column) else code_name(column, code)


def parse_records(schema: Schema, records: Sequence[Any]) -> tuple[Table, tuple[Problem, ...]]:
    """Type and check every value.

    A record with a problem keeps its row, in which the bad cells are missing.
    """
    problems: list[Problem] = []
    kept = [_checked_record(schema, i, record, problems) for i, record in enumerate(records)]
    numbers = np.empty((len(kept), len(schema.numeric)))
    for j, column in enumerate(schema.measured):
        numbers[:, j] = _numbers(column, kept, problems)
    set_missing(schema, numbers)
    times = None if schema.time is None else _times(schema.time, kept, problems)
    if times is not None:
        set_calendar(schema, times, numbers)
    codes = np.empty((len(kept), len(schema.discrete)), dtype=np.int32)
    texts: list[list[Any]] = []
    for j, column in enumerate(schema.discrete):
        text, code = _discrete(column, kept, problems)
        codes[:, j] = code
        texts.append(text)
    entities = schema.entity and entities_of_records(schema.entity, kept, problems)
    problems.sort(key=lambda problem: problem.record)
    return Table(schema, numbers, codes, texts, times, entities or None), tuple(problems)


def _times(
    time: Time, records: Sequence[Mapping[str, Any]], problems: list[Problem]
) -> NDArray[np.int64]:
    """Return the moments of N records, (N,)."""
    values = [record.get(time.column) for record in records]
    try:
        return moments_of(time, values)
    except UnreadableTime:
        return np.array([_moment(time, i, v, problems) for i, v in enumerate(values)], np.int64)


def _moment(time: Time, index: int, value: Any, problems: list[Problem]) -> int:
    try:
        return int(moments_of(time, [value])[0])
    except UnreadableTime as error:
        lost = isinstance(error, LostTime)
        got = "" if lost else f", got {kind_of(value)}"
        code = "missing" if lost else "time"
        rule = f"column '{time.column}' {error}{got}"
        problems.append(Problem(index, time.column, code, rule))
        return NO_TIME


def set_calendar(schema: Schema, times: NDArray[np.int64], numbers: NDArray[np.float64]) -> None:
    """Fill in the circular columns, the last of (N, numeric columns), from (N,) moments."""
    first = len(schema.measured)
    for j, column in enumerate(schema.circular, first):
        if schema.time is not None and column.part is not None:
            numbers[:, j] = calendar_of(times, schema.time.zone, column.part)


def set_missing(schema: Schema, numbers: NDArray[np.float64]) -> None:
    """Make the numbers that mean "missing" NaN, in (N, numeric columns)."""
    for j, nulls in schema.null_numbers:
        numbers[np.isin(numbers[:, j], nulls), j] = math.nan


def _checked_record(
    schema: Schema, index: int, record: Any, problems: list[Problem]
) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        rule = f"a record must be an object of column: value, got {kind_of(record)}"
        problems.append(Problem(index, None, "type", rule))
        return {}
    if not schema.required.keys() <= record.keys():
        unknown = [name for name in record if isinstance(name, str) and name not in schema.known]
        for name in [name for name in schema.required if name not in record]:
            hint = _misspelt(name, unknown[:LOOKED_AT]) if len(problems) < MOST_HINTS else ""
            rule = f"column '{name}' must be there{hint}; send null if its value is not known"
            problems.append(Problem(index, name, "missing", rule))
    return record


def _misspelt(name: str, unknown: Sequence[str]) -> str:
    """Return which of a record's unknown names may be a column's; empty if none is like it."""
    found = like(name, unknown)
    return "" if found is None else f", but there is only {ascii(found)}"


def _numbers(
    column: Column, records: Sequence[Mapping[str, Any]], problems: list[Problem]
) -> NDArray[np.float64] | list[float]:
    """Return a column's values, (N,), cell by cell only where a rule is broken."""
    name = column.name
    values = [record.get(name) for record in records]
    if {int, float, NoneType}.issuperset(map(type, values)):
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:  # an integer beyond the floats
            numbers = np.array([math.inf])
        if not np.isinf(numbers).any():
            return numbers
    return _cells(parse_number, column, values, problems, math.nan)


def _discrete(
    column: Column, records: Sequence[Mapping[str, Any]], problems: list[Problem]
) -> tuple[list[Any], list[int]]:
    name, missing = column.name, missing_code(column)
    values = [record.get(name) for record in records]
    if column.kind is Kind.BOOLEAN:
        found = _distinct(parse_boolean, column, values, problems)
        return found, [missing if value is None else value for value in found]
    found = _distinct(parse_category, column, values, problems)
    known: dict[Any, int] = {None: missing, **category_codes(column)}
    other = other_code(column)
    return found, [known.get(value, other) for value in found]


def _distinct(
    parse: Any, column: Column, values: Sequence[Any], problems: list[Problem]
) -> list[Any]:
    """Parse each distinct value once; values of two types go one by one, since 1 equals True."""
    if len({*map(type, values)} - {NoneType}) <= 1:
        try:
            parsed = {value: parse(value, column) for value in set(values)}
            return [parsed[value] for value in values]
        except (BadCell, TypeError):  # a list or an object has no hash
            pass
    return _cells(parse, column, values, problems, None)


def _cells(
    parse: Any, column: Column, values: Sequence[Any], problems: list[Problem], fallback: Any
) -> list[Any]:
    return [_cell(parse, column, i, value, problems, fallback) for i, value in enumerate(values)]


def _cell(
    parse: Any, column: Column, index: int, value: Any, problems: list[Problem], fallback: Any
) -> Any:
    try:
        return parse(value, column)
    except BadCell as bad:
        problems.append(Problem(index, column.name, *bad.args))
        return fallback


def table_of(schema: Schema, records: Sequence[Any]) -> Table:
    """Return the records as a Table, or raise a RecordError that names every problem."""
    table, problems = parse_records(schema, records)
    if problems:
        raise RecordError(problems)
    return table
