"""JSON -> structs of a schema, decoded and type-checked in one pass -> Table.

This is the fast path. A record that does not decode is read again by
`vaewatch.scoring.table.parse_records`, which is slower and names every broken rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from operator import attrgetter
from struct import Struct
from struct import error as PackError
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import astuple
from numpy.typing import NDArray

from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.series.entity import entity_of
from vaewatch.scoring.spelling.booleans import FALSE, TRUE
from vaewatch.scoring.spelling.values import category_codes, parse_category
from vaewatch.scoring.table import Table, set_calendar, set_missing
from vaewatch.scoring.time.time import UnreadableTime
from vaewatch.scoring.time.values import moments_of

Structs = list[Any]  # of the type of one schema

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_TIME: Any = str | int | float | None
_ENTITY: Any = str | int | float
# the usual spellings; others are read the slow way
_BOOLEANS: dict[Any, int] = {None: 2, True: 1, False: 0}
for _words, _code in ((TRUE, 1), (FALSE, 0)):
    for _word in _words:
        _BOOLEANS |= dict.fromkeys((_word, _word.upper(), _word.capitalize()), _code)


class StructReader:
    """Turns the structs of one schema into tables.

    Attributes:
        record: the struct type; None if a column's name cannot be the name of a field.
    """

    def __init__(self, schema: Schema, others: Sequence[str] | None = None) -> None:
        """If `others` is given, a record may have these columns beside the schema's, no more."""
        self.schema = schema
        discrete = [attrgetter(f"d{j}") for j in range(len(schema.discrete))]
        self._columns = [
            (column, get, _codes_of(column), other_code(column))
            for column, get in zip(schema.discrete, discrete, strict=True)
        ]
        booleans = [f"d{j}" for j, c in enumerate(schema.discrete) if c.kind is Kind.BOOLEAN]
        self._booleans = [attrgetter(field) for field in booleans]
        self._pack = Struct(f"{len(schema.measured)}d").pack
        self.record: Any = _struct_of(schema, others)

    def plain(self, rows: Structs) -> bool:
        """Return whether every boolean and every time is valid: the structs accept any text or
        number for one.
        """
        for get in self._booleans:
            if not _BOOLEANS.keys() >= set(map(get, rows)):
                return False
        if self.schema.entity is not None and any(entity_of(row.e) is None for row in rows):
            return False
        return self.schema.time is None or self._times(rows) is not None

    def table(self, rows: Structs) -> Table:
        """Return the Table that `parse_records` would make of the same records."""
        codes: list[list[int]] = []
        texts: list[Sequence[Any]] = []
        for column, get, known, other in self._columns:
            values = list(map(get, rows))
            code = [known.get(value, other) for value in values]
            if other in code and column.kind is Kind.CATEGORICAL:
                for i in [i for i, c in enumerate(code) if c == other]:
                    if not isinstance(values[i], str):
                        values[i] = parse_category(values[i], column)
                        code[i] = known.get(values[i], other)
                    else:
                        code[i] = column.code_by_key(values[i])
            codes.append(code)
            texts.append(values)
        shaped = np.array(codes, np.int32).reshape(len(codes), len(rows)).T
        numbers = self._number_array(rows)
        if self.schema.time is None:
            return Table(self.schema, numbers, shaped, texts)
        entities = None
        if self.schema.entity is not None:
            entities = [entity_of(row.e) or "" for row in rows]
        times = self._times(rows)
        if times is None:
            raise AssertionError("`plain` refuses such rows")
        numbers = self._with_calendar(numbers, times)
        return Table(self.schema, numbers, shaped, texts, times, entities)

    def _times(self, rows: Structs) -> NDArray[np.int64] | None:
        """Return the moments of the rows, (N,); None if one is no time."""
        try:
            time = self.schema.time
            return None if time is None else moments_of(time, [row.t for row in rows])
        except UnreadableTime:
            return None

    def _with_calendar(
        self, measured: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        numbers = np.empty((len(measured), len(self.schema.numeric)))
        numbers[:, : measured.shape[1]] = measured
        set_calendar(self.schema, times, numbers)
        return numbers

    def ids(self, rows: Structs) -> Sequence[Any] | None:
        """Return the id column's values as they were sent; None if the schema names none."""
        return None if self.schema.id is None else [row.id for row in rows]

    def _number_array(self, rows: Structs) -> NDArray[np.float64]:
        width = len(self.schema.measured)
        numbers = [values[:width] for values in map(astuple, rows)]  # their fields come first
        try:
            packed = b"".join(starmap(self._pack, numbers))  # twice as fast as numpy on lists
        except PackError:  # there is a null, which only numpy reads as NaN
            found = np.array(numbers, np.float64).reshape(len(rows), width)
        else:
            found = np.frombuffer(packed).reshape(len(rows), width)
        if self.schema.null_numbers:
            found = found.copy()
            set_missing(self.schema, found)
        return found


def _struct_of(schema: Schema, others: Sequence[str] | None) -> Any:
    """Build a struct type with one field per column; None if a name cannot be a field's."""
    discrete: dict[Kind, Any] = {
        Kind.CATEGORICAL: str | int | float | None,
        Kind.BOOLEAN: bool | int | float | str | None,
    }
    kinds = [(f"n{j}", c, float | None) for j, c in enumerate(schema.measured)]
    kinds += [(f"d{j}", c, discrete[c.kind]) for j, c in enumerate(schema.discrete)]
    fields: list[Any] = [(f, kind) if c.required else (f, kind, None) for f, c, kind in kinds]
    names = {field: column.name for field, column, _ in kinds}
    if schema.time is not None:
        fields.append(("t", _TIME) if schema.time.required else ("t", _TIME, None))
        names["t"] = schema.time.column
    if schema.entity is not None:
        fields.append(("e", _ENTITY))
        names["e"] = schema.entity
    if others is not None:
        fields += [(f"o{j}", Any, None) for j in range(len(others))]
        names |= {f"o{j}": name for j, name in enumerate(others)}
    elif schema.id is not None:
        fields.append(("id", Any, UNSET))
        names["id"] = schema.id
    try:
        record = msgspec.defstruct(
            "Record",
            fields,
            rename=names,
            kw_only=True,
            gc=False,
            forbid_unknown_fields=others is not None,
        )
        msgspec.json.Decoder(record)
    except ValueError:  # a quote, a backslash or a control character in a name
        return None
    return record


def _codes_of(column: Column) -> dict[Any, int]:
    """Map every JSON value that means a category to its code; all others mean 'other'."""
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
