"""Python values -> values as JSON carries them: what NumPy and databases put into records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from numbers import Real
from types import NoneType
from typing import Any
from uuid import UUID

from vaewatch.scoring.errors import Problem, RecordError

AS_THEY_ARE = {str, int, float, bool, NoneType}
# pandas' NA and NaT, NumPy's masked: neither is imported for this
MISSING = ("NAType", "NaTType", "MaskedConstant")


def plain(value: Any) -> Any:
    """Return a value as JSON carries it; times and UUIDs become texts, NaN stays.

    Raises:
        TypeError: JSON has nothing like it; the text names its type.
    """
    if type(value) in AS_THEY_ARE:
        return value
    if type(value).__name__ in MISSING:
        return None
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, date | datetime | time | UUID):
        return str(value) if isinstance(value, UUID) else value.isoformat()
    if isinstance(value, int | str):  # of a class of its own, as NumPy's texts
        return int(value) if isinstance(value, int) else str(value)
    if isinstance(value, Decimal | Real) and type(value).__name__ != "timedelta64":
        return _number(value)
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        return _plain_scalar(value)
    return _plain_container(value)


def _plain_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    raise TypeError(type(value).__name__)


def _number(value: Any) -> int | float:
    if isinstance(value, Decimal) and value.is_nan():  # a signalling one, too
        return math.nan
    try:
        whole = not isinstance(value, float) and math.isfinite(value) and value == int(value)
        return int(value) if whole else float(value)
    except OverflowError:  # a fraction beyond the floats
        return math.inf if value > 0 else -math.inf


def _plain_scalar(value: Any) -> Any:
    """A scalar of NumPy that is no number of Python's, or an array without axes."""
    if getattr(value, "mask", False) or (value.dtype.kind in "mM" and value != value):
        return None  # masked, or not a time
    if value.dtype.kind == "M":
        return str(value)
    if value.dtype.kind == "m" or type(value.item()) is type(value):
        raise TypeError(str(value.dtype))
    return plain(value.item())


def plain_records(records: Sequence[Any], names: set[str] | None = None) -> list[Any]:
    """Return records with plain values; what is no mapping stays.

    Args:
        names: the columns that must be plain, all by default; others are dropped if they are not.

    Raises:
        RecordError: a value is like nothing that JSON has; each is named.
    """
    problems: list[Problem] = []
    rows = [
        _plain_record(i, record, names, problems) if isinstance(record, Mapping) else record
        for i, record in enumerate(records)
    ]
    if problems:
        raise RecordError(tuple(problems))
    return rows


def _plain_record(
    index: int, record: Mapping[Any, Any], names: set[str] | None, problems: list[Problem]
) -> Mapping[str, Any]:
    if type(record) is dict and AS_THEY_ARE.issuperset(map(type, record.values())):
        return record
    out: dict[str, Any] = {}
    for name, value in record.items():
        try:
            out[str(name)] = plain(value)
        except (TypeError, RecursionError) as error:
            if names is None or name in names:
                got = "a list in itself" if isinstance(error, RecursionError) else f"a {error}"
                rule = f"column '{name}' must be a number, a text or a boolean, got {got}"
                problems.append(Problem(index, str(name), "type", rule))
    return out
