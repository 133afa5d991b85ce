"""The schema: which columns a record has, learned once from the fit data and fixed ever after."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.spelling.categories import key_of
from vaewatch.scoring.spelling.likeness import like, meant
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.scoring.time.parts import PARTS, Part, named
from vaewatch.scoring.time.time import Time

# In a numeric or boolean column these texts mean "missing". In a categorical column only the empty
# text does: "NA" may well be Namibia.
NULL_TOKENS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None")
PLACES = 100  # categories with an indicator, and a bin of drift, of their own; others share one
SHOWN = 5  # names in an error
MOST_NAMED = 20  # columns of an input that an error names
PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def numbers_among(texts: Sequence[str]) -> tuple[float, ...]:
    """Return the numbers that some of the texts are."""
    return tuple(float(text) for text in texts if PLAIN_NUMBER.fullmatch(text))


class Kind(StrEnum):
    """The type of a column's values. A circular one is no input: the calendar of a time gives it,
    a number that goes round.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    CIRCULAR = "circular"


INPUT_KINDS = (Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN)  # that can be declared


@dataclass(frozen=True)
class Column:
    """One named input.

    Attributes:
        required: the column was never missing in the fit data, so a record must name it, if only
            with a null.
        categories: those that have a name, most frequent first; all other values share one
            bucket.
        low, high: the range of a numeric column in the fit data. Shown to people and counted in
            metrics; a value outside it is no error.
        integer: every value in the fit data was a whole number.
        nulls: texts that mean "missing" in this column, whatever its kind, since the user said so;
            in a numeric column also numbers, such as -200.
        format: how texts spell the numbers of a numeric column; None if as programs do.
        period: after which a circular column comes round: 24 for hours.
        usual: the shortest arc, from start to end, that holds most of the fit data of a circular
            column; None if there is no arc much shorter than the circle.
    """

    name: str
    kind: Kind
    required: bool = True
    categories: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    integer: bool = False
    nulls: tuple[str, ...] = ()
    format: NumberFormat | None = None
    period: float | None = field(default=None, repr=False)  # so that versions stay what they were
    usual: tuple[float, float] | None = field(default=None, repr=False)

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, read or derived."""
        return self.kind in (Kind.NUMERIC, Kind.CIRCULAR)

    @property
    def part(self) -> Part | None:
        """The part of a time that a circular column holds."""
        return None if self.period is None else PARTS.get(self.period)

    def code_of(self, text: str) -> int:
        """Return the code of a category's text, in whatever spelling."""
        code = self._codes.get(text)
        return self.code_by_key(text) if code is None else code

    def code_by_key(self, text: str) -> int:
        """Return the code of a text that is not spelled like any category."""
        return self._keys.get(key_of(text), len(self.categories))

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.categories)}

    @cached_property
    def _keys(self) -> dict[str, int]:
        """The codes by `key_of`; the most frequent category wins where several share a key."""
        codes = {key_of(name): code for name, code in reversed(self._codes.items())}
        return dict.fromkeys(["", *map(key_of, self.nulls)], missing_code(self)) | codes

    @cached_property
    def null_numbers(self) -> tuple[float, ...]:
        """The numbers that mean "missing"."""
        return numbers_among(self.nulls)


def usual_words(column: Column) -> str:
    """Return where most of a circular column lies, such as `usually 08:00 to 19:00`; empty if it
    lies anywhere.
    """
    if column.usual is None or column.part is None:
        return ""
    first, last = _usual_ends(column, column.usual)
    start, end = named(first, column.part), named(last, column.part)
    return f"usually {start}" if start == end else f"usually {start} to {end}"


def is_usual(column: Column, number: float) -> bool:
    """Return whether a number lies where most of a circular column does, as `usual_words` says."""
    if column.usual is None or column.period is None:
        return False
    first, last = _usual_ends(column, column.usual)
    return (number - first) % column.period <= last - first + column.period * (last < first)


def _usual_ends(column: Column, usual: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of the arc; of hours, whole ones, which hold no less."""
    first, last = usual
    return (math.floor(first), math.ceil(last)) if column.part is Part.HOUR else (first, last)


BOOLEAN_NAMES = ("false", "true")


@dataclass(frozen=True)
class Schema:
    """The columns that are learned, in order, and the names of those that are only carried through
    (`id`, `label`) or left out (`ignored`).

    A time is carried through, too; its calendar are the last of the columns.
    segment: the categorical column whose values have calibrations of their own.
    entity: the column that says whose history a record belongs to; it is carried through, too.
    """

    columns: tuple[Column, ...]
    id: str | None = None
    label: str | None = None
    ignored: tuple[str, ...] = ()
    null_tokens: tuple[str, ...] = field(default=NULL_TOKENS)
    time: Time | None = field(default=None, repr=False)
    segment: str | None = field(default=None, repr=False)  # `name_version` hashes the `repr`
    entity: str | None = field(default=None, repr=False)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The columns that a record names: the learned ones that are not derived, the time and the
        entity.
        """
        names = [c.name for c in self.columns if c.kind is not Kind.CIRCULAR]
        names += [self.time.column] if self.time is not None else []
        return (*names, self.entity) if self.entity is not None else tuple(names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def required(self) -> dict[str, Column]:
        """The columns that a record must name, without the time."""
        return {c.name: c for c in self.columns if c.required and c.kind is not Kind.CIRCULAR}

    @cached_property
    def known(self) -> frozenset[str | None]:
        """The columns that a record may name, whether they are read or not."""
        return frozenset((*self.inputs, self.id, self.label, *self.ignored))

    @cached_property
    def numeric(self) -> tuple[Column, ...]:
        """Columns of numbers: those of a record, and then the circular ones."""
        return tuple(column for column in self.columns if column.is_number)

    @cached_property
    def measured(self) -> tuple[Column, ...]:
        """The numeric columns that a record names."""
        return tuple(column for column in self.columns if column.kind is Kind.NUMERIC)

    @cached_property
    def circular(self) -> tuple[Column, ...]:
        """The columns that the calendar of the time gives."""
        return tuple(column for column in self.columns if column.kind is Kind.CIRCULAR)

    @cached_property
    def discrete(self) -> tuple[Column, ...]:
        """Categorical and boolean columns."""
        return tuple(column for column in self.columns if not column.is_number)

    @cached_property
    def null_numbers(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """The numeric columns in which numbers mean "missing", by their place among the numeric
        ones. Most schemas have none.
        """
        found = enumerate(column.null_numbers for column in self.numeric)
        return tuple((i, numbers) for i, numbers in found if numbers)

    @cached_property
    def place(self) -> dict[str, int]:
        """The index of each column among those of its kind, numeric or discrete."""
        return {c.name: i for kind in (self.numeric, self.discrete) for i, c in enumerate(kind)}

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON; what few columns have is left out of the others."""
        data = asdict(self)
        for column in data["columns"]:
            for name in ("nulls", "format", "period", "usual"):
                if not column[name]:
                    del column[name]
        if self.time is None:
            del data["time"]
        elif not self.time.assumed:
            del data["time"]["assumed"]
        for name in ("segment", "entity"):
            if data[name] is None:
                del data[name]
        return data

    def require(self, present: list[str]) -> None:
        """Raise a SchemaError that names missing columns, and unknown ones that may be renamed."""
        missing = [name for name in self.inputs if name not in set(present)]
        if missing:
            extra = [name for name in present if name not in self.known]
            pairs = [(other, name) for name in missing[:SHOWN] if (other := like(name, extra))]
            hint = "".join(f" Did you mean '{name}' by '{other}'?" for other, name in pairs)
            hint += f" Columns the schema does not know: {_listed(extra)}." if extra else ""
            raise SchemaError(
                f"the input must have every column of the schema, but lacks {_listed(missing)}."
                f"{hint}"
            )


def require_columns(columns: Sequence[str], names: Sequence[str], what: str) -> None:
    """Refuse a column that the user named and the input lacks; `what` it was named as."""
    for name in names:
        if name not in columns:
            more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
            raise SchemaError(
                f"{what} column '{name}' must be in the input, got "
                f"{', '.join(columns[:MOST_NAMED])}{more}.{meant(name, columns)}"
            )


def _listed(names: list[str], most: int = SHOWN) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


OTHER = "(other)"  # a value outside the column's categories


def other_code(column: Column) -> int:
    """Return the code that values outside the column's categories share."""
    return len(column.categories)


def missing_code(column: Column) -> int:
    """Return the code of a missing value, which is the column's last."""
    return 2 if column.kind is Kind.BOOLEAN else len(column.categories) + 1


def code_name(column: Column, code: int) -> str | None:
    """Return the name of a code: a category, 'true', 'false', '(other)', or None for missing."""
    if code == missing_code(column):
        return None
    names = BOOLEAN_NAMES if column.kind is Kind.BOOLEAN else column.categories
    return names[code] if code < len(names) else OTHER
