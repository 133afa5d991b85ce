"""a setting's name and value -> the value as it is kept, or an error that says what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.schema import INPUT_KINDS, Kind
from vaewatch.scoring.series.limits import MOST_IN_WINDOW
from vaewatch.scoring.time.parts import Part
from vaewatch.scoring.time.spans import microseconds
from vaewatch.scoring.time.zone import UTC_NAMES, zone_named

Check = Callable[[str, Any], Any]  # a setting's name and value -> the value as it is kept


def whole_number(name: str, value: Any, least: int, most: int = 2**63 - 1) -> int:
    """Return a setting that must be a whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise SettingError(f"setting '{name}' must be a whole number, got {value!r}.")
    number = int(value)
    if number < least:
        raise SettingError(f"setting '{name}' must be at least {least}, got {number}.")
    if number > most:
        raise SettingError(f"setting '{name}' must be at most {most}, got {number}.")
    return number


def whole(least: int) -> Check:
    return lambda name, value: whole_number(name, value, least)


def whole_or_none(least: int) -> Check:
    return lambda name, value: None if value is None else whole_number(name, value, least)


def number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingError(f"setting '{name}' must be a number, got {value!r}.")
    return value if isinstance(value, int) else float(value)  # an int is stored as it was given


def rate(name: str, value: Any) -> float:
    from vaewatch.scoring.budget.calibration import (
        check_rate,  # NumPy: only where a run is configured
    )

    share = number(name, value)
    check_rate(share)
    return share


def weight(name: str, value: Any) -> float:
    found = number(name, value)
    if not (math.isfinite(found) and found >= 0):
        raise SettingError(f"setting '{name}' must be finite and at least 0, got {found:g}.")
    return found


def positive(name: str, value: Any) -> float:
    found = number(name, value)
    if not (math.isfinite(found) and found > 0):
        raise SettingError(f"setting '{name}' must be finite and above 0, got {found:g}.")
    return found


def positive_or_none(name: str, value: Any) -> float | None:
    return None if value is None else positive(name, value)


def one_of(*allowed: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            text = f"setting '{name}' must be one of {', '.join(allowed)}, got {value!r}."
            raise SettingError(text)
        return str(value)

    return check


def device(name: str, value: Any) -> str:
    if not (isinstance(value, str) and re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", value)):
        raise SettingError(f"setting '{name}' must be auto, cpu, cuda or cuda:N, got {value!r}.")
    return value


def yes_or_no(name: str, value: Any) -> bool:
    if value not in (True, False):
        raise SettingError(f"setting '{name}' must be true or false, got {value!r}.")
    return bool(value)


def column(name: str, value: Any) -> str | None:
    if not (value is None or (isinstance(value, str) and value)):
        raise SettingError(f"setting '{name}' must be a column's name, got {value!r}.")
    return value


def list_of(what: str) -> Check:
    def check(name: str, value: Any) -> tuple[str, ...]:
        texts = isinstance(value, Sequence) and all(isinstance(item, str) for item in value)
        if isinstance(value, str) or not texts:
            raise SettingError(f"setting '{name}' must be a list of {what}, got {value!r}.")
        return tuple(value)

    return check


def zone(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise SettingError(f"setting '{name}' must be the name of a zone, got {value!r}.")
    if value not in UTC_NAMES:
        zone_named(value)
    return str(value)


def calendar(name: str, value: Any) -> str:
    texts = value if isinstance(value, list | tuple) else [value]
    parts = [part.strip() for text in texts for part in str(text).split(",")]
    if parts in (["auto"], ["none"]):
        return str(parts[0])
    if not parts or any(part not in tuple(Part) for part in parts):
        raise SettingError(
            f"setting '{name}' must be auto, none, or some of {', '.join(Part)}, separated by "
            f"commas, got {value!r}."
        )
    return ",".join(part for part in Part if part in parts)


def mark(name: str, value: Any) -> str | None:
    if value not in (None, ".", ","):
        raise SettingError(f"setting '{name}' must be . or , got {value!r}.")
    return None if value is None else str(value)


def kinds(name: str, value: Any) -> dict[str, Kind]:
    if not isinstance(value, Mapping):
        raise SettingError(f"setting '{name}' must map columns to kinds, got {value!r}.")
    return {str(column): parse_kind(kind) for column, kind in value.items()}


def parse_kind(text: str) -> Kind:
    """Return the kind that a text names."""
    if text not in INPUT_KINDS:
        raise SettingError(f"a kind must be one of {', '.join(INPUT_KINDS)}, got {text!r}.")
    return Kind(text)


def window(name: str, value: Any) -> int | str | None:
    if value is None or value == "auto":
        return value if value is None else "auto"
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, str):
        raise SettingError(f"setting '{name}' must be auto or a number of records, got {value!r}.")
    return whole_number(name, value, 1, MOST_IN_WINDOW)


def span(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or microseconds(value) is None:
        raise SettingError(
            f"setting '{name}' must be a span of time such as 90s, 5m, 2h or 1d, got {value!r}."
        )
    return value
