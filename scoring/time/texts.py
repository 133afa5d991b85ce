"""A text -> its moment: ISO 8601, and the other ways in which people and programs write a time.

Each expression is the same in Python and in polars, so it has no look-around and no reference
back; `vaewatch.scoring.time.written` reads a column by them. The first one that a text matches
decides, and its groups are named by what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import lru_cache

from vaewatch.scoring.time.form import DAY, EPOCH, SECOND, Form, in_range, is_number

LONGEST_KEPT = 64  # characters of a text whose moment is kept
CENTURY = 69  # two digits from here on are of the last century, as in POSIX
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class DateOrder(StrEnum):
    """What comes first in dates such as 3/4/2026."""

    DAY = "day"
    MONTH = "month"


EXAMPLES = {DateOrder.DAY: "29/03/2026", DateOrder.MONTH: "03/29/2026"}

_ZONE = (
    r"(?P<zone>[Zz]|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3])"
    r":?(?P<minutes>[0-5][0-9])?|UTC|GMT)"
)
ISO = (
    r"^\s*(?P<year>[0-9]{4})[-/]?(?P<month>[0-9]{2})(?:[-/]?(?P<day>[0-9]{2})(?:(?:[Tt]| +)"
    r"(?P<hour>[01][0-9]|2[0-3]):?(?P<minute>[0-5][0-9])"
    rf"(?::?(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{{1,9}}))?)? ?{_ZONE}?)?)?\s*$"
)
_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,? +)?"
_YEAR, _DAY = r"(?P<year>[0-9]{4})", r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_SHORT_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"
_HOUR = (
    r"(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:[.,](?P<fraction>[0-9]{1,9}))?)?(?: ?(?P<half>[ap])\.?m\.?)?"
)
_CLOCK = rf"(?:(?:t|:|,? +(?:at +)?){_HOUR}(?: ?{_ZONE})?(?: ?\([^)]*\))?)?"
_WRITTEN = (
    rf"{_YEAR}[-/.](?P<month>[0-9]{{1,2}})[-/.](?P<day>[0-9]{{1,2}}){_CLOCK}",  # 2026-3-9 8:00 PM
    rf"{_WEEKDAY}{_DAY}\.?[ /-]*(?:of )?{_NAME}[ ,/-]*{_SHORT_YEAR}{_CLOCK}",  # 29-Mar-26
    rf"{_WEEKDAY}{_NAME} +{_DAY},? +{_YEAR}{_CLOCK}",  # March 29, 2026
    rf"{_WEEKDAY}{_NAME} +{_DAY} +{_HOUR} +(?:{_ZONE} +)?{_YEAR}",  # asctime's, and that of `date`
    rf"{_YEAR}[ /-]?{_NAME}[ /-]?{_DAY}{_CLOCK}",  # 2026-Mar-29
    rf"{_YEAR}[ /-]?{_NAME}",  # 2026 Mar
    rf"{_NAME},?[ /-]?{_YEAR}",  # Mar 2026
    rf"{_YEAR}[ /-]?q(?P<quarter>[1-4])",  # 2026 Q1
    rf"q(?P<quarter>[1-4])[ /-]?{_YEAR}",  # Q1 2026
    rf"{_YEAR}[ -]?w(?P<week>[0-9]{{2}})(?:-?(?P<weekday>[1-7]))?",  # 2026-W13
)


def _whole(pattern: str) -> str:
    return rf"(?i)^\s*{pattern}\s*$"


def _numeric(first: str, second: str) -> dict[str, str]:
    """Return the expressions of dates such as 29/03/2026, whose first numbers are these, by what
    stands between the numbers.
    """
    begin, then = rf"(?P<{first}>[0-9]{{1,2}})", rf"(?P<{second}>[0-9]{{1,2}})"
    return {mark: _whole(rf"{begin}[{mark}]{then}[{mark}]{_SHORT_YEAR}{_CLOCK}") for mark in "/-."}


NUMERIC = _numeric("one", "two")  # where the order is not known yet
PATTERNS: Mapping[DateOrder | None, tuple[str, ...]] = {
    None: (ISO, *map(_whole, _WRITTEN)),
    DateOrder.DAY: (ISO, *_numeric("day", "month").values(), *map(_whole, _WRITTEN)),
    DateOrder.MONTH: (ISO, *_numeric("month", "day").values(), *map(_whole, _WRITTEN)),
}
_COMPILED = {order: tuple(map(re.compile, them)) for order, them in PATTERNS.items()}


def moment_of_text(text: str, order: DateOrder | None = None) -> tuple[int, Form] | None:
    """Return the moment of a text and its form; without an offset, in its own zone.

    Digits alone are none: see `vaewatch.scoring.time.form.moment_of_digits`. A date such as
    29/03/2026 is one where its order is known. The same texts come again: a service looks at a
    record twice, and the records of many entities have one time.
    """
    return _remembered(text, order) if len(text) <= LONGEST_KEPT else _moment_of_text(text, order)


def _moment_of_text(text: str, order: DateOrder | None) -> tuple[int, Form] | None:
    for expression in _COMPILED[order]:
        found = expression.match(text)
        if found is not None:
            return None if is_number(text) else _moment_of(found.groupdict())
    return None


_remembered = lru_cache(maxsize=1024)(_moment_of_text)


def _moment_of(groups: Mapping[str, str | None]) -> tuple[int, Form] | None:
    part = groups.get
    hour, half = int(part("hour") or 0), part("half")
    if half is not None and not 1 <= hour <= 12:
        return None
    if half is not None:
        hour = hour % 12 + 12 * (half in "pP")
    try:
        days = _day_of(groups).toordinal() - EPOCH.toordinal()
    except ValueError:
        return None
    away = 60 * int(part("hours") or 0) + int(part("minutes") or 0)
    minutes = 60 * hour + int(part("minute") or 0) - (-away if part("sign") == "-" else away)
    fraction = int((part("fraction") or "").ljust(6, "0")[:6])
    moment = days * DAY + (60 * minutes + int(part("second") or 0)) * SECOND + fraction
    kept = in_range(moment)
    return None if kept is None else (kept, _form_of(groups))


def _day_of(groups: Mapping[str, str | None]) -> date:
    part = groups.get
    digits = part("year") or ""
    year = int(digits) if len(digits) == 4 else int(digits) + century(int(digits))
    if week := part("week"):
        return date.fromisocalendar(year, int(week), int(part("weekday") or 1))
    name, quarter = part("name"), part("quarter")
    if name is not None:
        month = MONTHS.index(name[:3].lower()) + 1
    elif quarter is not None:
        month = 3 * int(quarter) - 2
    else:
        month = int(part("month") or 1)
    return date(year, month, int(part("day") or 1))


def century(digits: int) -> int:
    """Return the century of a year of two digits."""
    return 1900 if digits >= CENTURY else 2000


def _form_of(groups: Mapping[str, str | None]) -> Form:
    part = groups.get
    if part("day") is None and part("week") is None:
        return Form.MONTH  # a quarter is its first one
    if part("hour") is None:
        return Form.DATE
    return Form.LOCAL if part("zone") is None else Form.OFFSET
