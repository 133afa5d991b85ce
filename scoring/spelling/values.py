"""a value as JSON carries it -> a number, a category or a boolean of its column."""

from __future__ import annotations

import math
from typing import Any

from vaewatch.scoring.schema import NULL_TOKENS, Column, code_name, other_code
from vaewatch.scoring.spelling.booleans import read_word
from vaewatch.scoring.spelling.categories import BLANKS, spell
from vaewatch.scoring.spelling.numbers import COMMA, NumberFormat, with_comma


class BadCell(Exception):
    """A value breaks its column's rule; the arguments are a code and what it must be."""


def parse_number(value: Any, column: Column) -> float:
    """Return a number as float64, NaN if it is missing; infinity is refused.

    A text is a number only in a column whose format texts can have.
    """
    if value is None:
        return math.nan
    if isinstance(value, str) and column.format is not None:
        return _parse_text(value, column, column.format)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadCell("type", f"column '{column.name}' must be a number, got {kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise BadCell("range", f"column '{column.name}' must be a finite number, got infinity")
    return number


def _parse_text(value: str, column: Column, spelling: NumberFormat) -> float:
    if is_null(value, column):
        return math.nan
    number = spelling.parse(value)
    comma = with_comma(spelling) if number is None else None
    if comma is not None and comma.parse(value) is not None:
        raise BadCell("decimal", f"column '{column.name}' {COMMA}")
    if number is None:
        raise BadCell("type", f"column '{column.name}' must be a number, got {kind_of(value)}")
    return number


def is_null(text: str, column: Column) -> bool:
    """Return whether a text means "missing" in a numeric or boolean column."""
    bare = text.strip(BLANKS)
    return bare in NULL_TOKENS or bare in column.nulls


def parse_category(value: Any, column: Column) -> str | None:
    """Return a category's name, in whatever spelling it comes; None if it is missing.

    A text that is no category of the column stays as it is; a whole number is its digits.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, float) and not math.isfinite(value):
        value = "" if math.isnan(value) else repr(value)
    elif isinstance(value, (int, float)):
        value = str(value) if isinstance(value, int) else spell(value)
    elif not isinstance(value, str):
        raise BadCell("type", f"column '{column.name}' must be a text, got {kind_of(value)}")
    code = column.code_of(value)
    return str(value) if code == other_code(column) else code_name(column, code)


def parse_boolean(value: Any, column: Column) -> int | None:
    """Return 1 or 0, or None if the value is missing."""
    if value is None or value != value:  # None or NaN
        return None
    found = read_word(value) if isinstance(value, str) else _boolean(value)
    if found is not None:
        return int(found)
    if isinstance(value, str) and is_null(value, column):
        return None
    rule = f"column '{column.name}' must be true, false, 0 or 1, got {kind_of(value)}"
    raise BadCell("type", rule)


def _boolean(value: Any) -> bool | None:
    is_number = isinstance(value, (bool, int, float)) and value in (0, 1)
    return bool(value) if is_number else None


def kind_of(value: Any) -> str:
    """Name the kind of a value in JSON's words, never the value itself."""
    names = {bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null" if value is None else "a number")


def category_codes(column: Column) -> dict[str, int]:
    """Map the categories that have a code of their own to it."""
    return {name: code for code, name in enumerate(column.categories)}
