"""How a time is written: ISO 8601 with or without an offset, a date, a month, or a number since
1970.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache

SECOND = 10**6  # in microseconds, in which every moment is counted, from 1970 on
DAY = 86_400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME = -(2**63)  # in place of a moment
LONGEST_KEPT = 64  # characters of a text whose moment is kept
FIRST, LAST = -719_162 * DAY, 2_932_897 * DAY - 1  # the years 1 to 9999


class Form(StrEnum):
    """One way to write a time, which a whole column shares."""

    OFFSET = "offset"  # ISO 8601 with its offset from UTC
    LOCAL = "local"  # ISO 8601 without one
    DATE = "date"
    MONTH = "month"
    SECONDS = "seconds"  # numbers since 1970
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"
    DIGITS = "digits"  # 202603292000 or 20260329200000
    DIGITS_OF_DATE = "digits of a date"  # 20260329


NAMES = {
    Form.OFFSET: "ISO 8601 with an offset, such as 2026-03-29T20:00:00Z",
    Form.LOCAL: "ISO 8601, such as 2026-03-29T20:00:00",
    Form.DATE: "a date, such as 2026-03-29",
    Form.MONTH: "a month, such as 2026-03",
    Form.SECONDS: "seconds since 1970",
    Form.MILLISECONDS: "milliseconds since 1970",
    Form.MICROSECONDS: "microseconds since 1970",
    Form.NANOSECONDS: "nanoseconds since 1970",
    Form.DIGITS: "digits, such as 20260329200000",
    Form.DIGITS_OF_DATE: "digits of a date, such as 20260329",
}
KNOWN = (
    "ISO 8601 (2026-03-29T20:00:00Z, 2026-03-29 20:00, 2026/03/29, 20260329, 2026-03), or "
    "seconds, milliseconds, microseconds or nanoseconds since 1970"
)
# Numbers up to so many are in this unit: seconds until the year 5138, milliseconds from 1973 on,
# and so on.
UNITS = {
    Form.SECONDS: 1e11,
    Form.MILLISECONDS: 1e14,
    Form.MICROSECONDS: 1e17,
    Form.NANOSECONDS: 1e20,
}
IN_A_SECOND = {
    Form.SECONDS: 1,
    Form.MILLISECONDS: 10**3,
    Form.MICROSECONDS: 10**6,
    Form.NANOSECONDS: 10**9,
}
DATES = (Form.DATE, Form.MONTH, Form.DIGITS_OF_DATE)  # they have no hour
ZONED = (Form.LOCAL, Form.DIGITS, *DATES)  # read in the schema's zone

# the same expression in Python and in polars, so no look-around; its groups are named below
ISO = (
    r"^\s*(\d{4})[-/]?(\d{2})(?:[-/]?(\d{2})"
    r"(?:(?:[Tt]| +)([01]\d|2[0-3]):?([0-5]\d)(?::?([0-5]\d)(?:[.,](\d{1,9}))?)?"
    r" ?([Zz]|UTC|GMT|([+-])([01]\d|2[0-3]):?([0-5]\d)?)?)?)?\s*$"
)
GROUPS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone", "sign", "hours",
          "minutes")  # fmt: skip
NUMBER = r"^\s*[+-]?\d{1,20}(?:\.\d*)?(?:[eE][+]?\d{1,2})?\s*$"
COMPACT = r"^(?:19|20)\d{6}(?:\d{4}(?:[0-5]\d)?)?$"

_ISO, _NUMBER, _COMPACT = re.compile(ISO), re.compile(NUMBER), re.compile(COMPACT)


def form_of_number(number: float) -> Form | None:
    """Return the unit that a number since 1970 has by its size; None if none fits.

    0 has any: the same moment in all of them.
    """
    size = abs(number)
    return next((form for form, most in UNITS.items() if size <= most), None)


def moment_of_number(number: float, form: Form) -> int | None:
    """Return the moment of a number in this unit; None where no year of four digits has it."""
    if number != 0 and form_of_number(number) is not form:
        return None
    return _in_range(round(number * (SECOND / IN_A_SECOND[form])))


def moment_of_digits(digits: str) -> tuple[int, Form] | None:
    """Return the moment, in its own zone, of digits such as 20260329."""
    if not _COMPACT.match(digits):
        return None
    form = Form.DIGITS_OF_DATE if len(digits) == 8 else Form.DIGITS
    padded = digits.ljust(14, "0")
    moment = _moment([padded[:4], *(padded[i : i + 2] for i in range(4, 14, 2)), None])
    return None if moment is None else (moment, form)


def is_number(text: str) -> bool:
    return _NUMBER.match(text) is not None


def moment_of_text(text: str) -> tuple[int, Form] | None:
    """Return the moment of an ISO 8601 text and its form; without an offset, in its own zone.

    Digits alone are none: see `moment_of_digits`. The same texts come again: a service looks at a
    record twice, and the records of many entities have one time.
    """
    return _remembered(text) if len(text) <= LONGEST_KEPT else _moment_of_text(text)


def _moment_of_text(text: str) -> tuple[int, Form] | None:
    found = _ISO.match(text)
    if found is None or (found[4] is None and is_number(text)):
        return None
    *parts, zone, sign, hours, minutes = found.groups()
    parts[2] = parts[2] or "01"  # a month is its first day
    moment = _moment(parts)
    if moment is None:
        return None
    if found[4] is None:
        return moment, Form.MONTH if found[3] is None else Form.DATE
    if zone is None:
        return moment, Form.LOCAL
    minutes_off = int(hours or 0) * 60 + int(minutes or 0)
    shifted = moment - (-1 if sign == "-" else 1) * minutes_off * 60 * SECOND
    return shifted, Form.OFFSET


_remembered = lru_cache(maxsize=1024)(_moment_of_text)


def _moment(parts: list[str | None]) -> int | None:
    *whole, fraction = parts
    year, month, day, hour, minute, second = (int(part or 0) for part in whole)
    if hour > 23 or minute > 59 or second > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - EPOCH.toordinal()
    except ValueError:
        return None
    seconds = 3600 * hour + 60 * minute + second
    rest = int(fraction.ljust(6, "0")[:6]) if fraction else 0
    return _in_range(days * DAY + seconds * SECOND + rest)


def _in_range(moment: int) -> int | None:
    return moment if FIRST <= moment <= LAST else None


def spell(moment: int, form: Form) -> str | int | float:
    """Write a moment, in its own zone where the form has none, as `Time.read` reads it."""
    if form in IN_A_SECOND:
        whole, rest = divmod(moment * IN_A_SECOND[form], SECOND)
        return moment * IN_A_SECOND[form] / SECOND if rest else whole
    days, rest = divmod(moment, DAY)
    at = datetime.fromordinal(EPOCH.toordinal() + days).replace(
        hour=rest // (3600 * SECOND),
        minute=rest // (60 * SECOND) % 60,
        second=rest // SECOND % 60,
        microsecond=rest % SECOND,
    )
    if form is Form.DIGITS_OF_DATE:
        return f"{at:%Y%m%d}"
    if form is Form.DIGITS:
        return f"{at:%Y%m%d%H%M%S}"
    if form is Form.DATE:
        return at.date().isoformat()
    if form is Form.MONTH:
        return at.date().isoformat()[:7]
    return at.isoformat() + ("Z" if form is Form.OFFSET else "")
