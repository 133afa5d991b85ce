"""How a time is written: with or without an offset, as a date, a month, or a number. What reads
texts is `vaewatch.scoring.time.texts`.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

SECOND = 10**6  # in microseconds, in which every moment is counted, from 1970 on
DAY = 86_400 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME = -(2**63)  # in place of a moment
FIRST, LAST = -719_162 * DAY, 2_932_897 * DAY - 1  # the years 1 to 9999


class Form(StrEnum):
    """One way to write a time, which a whole column shares."""

    OFFSET = "offset"  # a text with its offset from UTC
    LOCAL = "local"  # one without
    DATE = "date"
    MONTH = "month"
    SECONDS = "seconds"  # numbers since 1970
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    NANOSECONDS = "nanoseconds"
    DIGITS = "digits"  # 202603292000 or 20260329200000
    DIGITS_OF_DATE = "digits of a date"  # 20260329
    YEARS = "years"  # numbers such as 2026.25


NAMES = {
    Form.OFFSET: "ISO 8601 with an offset, such as 2026-03-29T20:00:00Z",
    Form.LOCAL: "ISO 8601, such as 2026-03-29T20:00:00",
    Form.DATE: "a date, such as 2026-03-29",
    Form.MONTH: "a month, such as 2026-03, or a quarter, such as 2026 Q1",
    Form.SECONDS: "seconds since 1970",
    Form.MILLISECONDS: "milliseconds since 1970",
    Form.MICROSECONDS: "microseconds since 1970",
    Form.NANOSECONDS: "nanoseconds since 1970",
    Form.DIGITS: "digits, such as 20260329200000",
    Form.DIGITS_OF_DATE: "digits of a date, such as 20260329",
    Form.YEARS: "years, such as 2026.25",
}
KNOWN = (
    "times such as 2026-03-29T20:00:00Z, 2026-03-29 20:00, 29 Mar 2026, 3/29/2026 8:00 PM, "
    "20260329 or 2026-03, or years, or seconds, milliseconds, microseconds or nanoseconds since "
    "1970"
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
NUMBERS = (*IN_A_SECOND, Form.YEARS)
COARSE = (Form.MONTH, Form.YEARS)  # they have no weekday
DATES = (*COARSE, Form.DATE, Form.DIGITS_OF_DATE)  # they have no hour
ZONED = (Form.LOCAL, Form.DIGITS, *DATES)  # read in the schema's zone

YEARS = 1500, 2200  # numbers that are all between are years

# the same expressions in Python and in polars
NUMBER = r"^\s*[+-]?[0-9]{1,20}(?:\.[0-9]*)?(?:[eE][+]?[0-9]{1,2})?\s*$"
COMPACT = r"^(?:19|20)[0-9]{6}(?:[0-9]{4}(?:[0-5][0-9])?)?$"

_NUMBER, _COMPACT = re.compile(NUMBER), re.compile(COMPACT)


def form_of_number(number: float) -> Form | None:
    """Return the unit that a number since 1970 has by its size; None if none fits.

    0 has any: the same moment in all of them.
    """
    size = abs(number)
    return next((form for form, most in UNITS.items() if size <= most), None)


def moment_of_number(number: float, form: Form) -> int | None:
    """Return the moment of a number in this unit, of years in their own zone; None where no year
    of four digits has it.
    """
    if form is Form.YEARS:
        return _moment_of_year(number)
    if number != 0 and form_of_number(number) is not form:
        return None
    return in_range(round(number * (SECOND / IN_A_SECOND[form])))


def _moment_of_year(number: float) -> int | None:
    """Return the moment of a year and its part that has passed, to the second."""
    if not YEARS[0] <= number <= YEARS[1]:
        return None
    year = int(number)
    seconds = round((number - year) * _days_of(year) * (DAY // SECOND))
    return _start_of(year) + seconds * SECOND


def _days_of(year: int) -> int:
    return 365 + calendar.isleap(year)


def _start_of(year: int) -> int:
    return (date(year, 1, 1).toordinal() - EPOCH.toordinal()) * DAY


def moment_of_digits(digits: str) -> tuple[int, Form] | None:
    """Return the moment, in its own zone, of digits such as 20260329."""
    if not _COMPACT.match(digits):
        return None
    form = Form.DIGITS_OF_DATE if len(digits) == 8 else Form.DIGITS
    padded = digits.ljust(14, "0")
    try:
        at = datetime.strptime(padded, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (at - EPOCH) // timedelta(microseconds=1), form


def is_number(text: str) -> bool:
    return _NUMBER.match(text) is not None


def in_range(moment: int) -> int | None:
    return moment if FIRST <= moment <= LAST else None


def spell(moment: int, form: Form) -> str | int | float:
    """Write a moment, in its own zone where the form has none, as `Time.read` reads it."""
    if form in IN_A_SECOND:
        whole, rest = divmod(moment * IN_A_SECOND[form], SECOND)
        return moment * IN_A_SECOND[form] / SECOND if rest else whole
    days, rest = divmod(moment, DAY)
    if form is Form.YEARS:
        year = date.fromordinal(EPOCH.toordinal() + days).year
        return round(year + (moment - _start_of(year)) / (_days_of(year) * DAY), 9)
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
