"""Moments, in microseconds since 1970, as requests write them and answers spell them."""

from __future__ import annotations

from time import time
from typing import Annotated

from msgspec import Meta

from vaewatch.scoring.time.form import (
    DAY,
    FIRST,
    LAST,
    SECOND,
    Form,
    moment_of_digits,
    spell,
)
from vaewatch.scoring.time.texts import moment_of_text
from vaewatch.service.http.problems import Malformed

__all__ = ["DAY", "SECOND", "Moment", "moment_of", "moment_text", "now"]

Moment = Annotated[
    str | float, Meta(description="ISO 8601 (UTC without offset), or Unix seconds.")
]


def now() -> int:
    return int(time() * SECOND)


def moment_text(moment: int) -> str:
    """Return a moment in RFC 3339, in UTC."""
    return str(spell(moment, Form.OFFSET))


def moment_of(given: str | float, what: str) -> int:
    """Read ISO 8601, UTC without an offset, or Unix seconds, as a number or as text.

    Raises:
        Malformed: it is none.
    """
    found = _moment(given)
    if found is None or not FIRST <= found <= LAST:
        raise Malformed(f"'{what}' must be ISO 8601 or Unix seconds.")
    return found


def _moment(given: str | float) -> int | None:
    if isinstance(given, str):
        read = moment_of_text(given) or moment_of_digits(given)
        if read is not None:
            return read[0]
    try:
        return int(float(given) * SECOND)
    except (ValueError, OverflowError):
        return None
