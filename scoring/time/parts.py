"""The parts of a time that are learned: numbers that go round, and their names."""

from __future__ import annotations

from enum import StrEnum

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CLOCK_DIGITS = 2  # of an hour that is shown as a number


class Part(StrEnum):
    """What of a time is learned. Its numbers go round: after 24 hours the same one comes again."""

    HOUR = "hour"
    WEEKDAY = "weekday"
    DAY = "day"


PERIODS = {Part.HOUR: 24.0, Part.WEEKDAY: 7.0, Part.DAY: 31.0}
PARTS = {period: part for part, period in PERIODS.items()}


def shown(number: float, part: Part) -> float | int | str:
    """Return a number of the calendar as JSON carries it: a weekday by its name."""
    if part is Part.HOUR:
        return round(number % 24, CLOCK_DIGITS)
    if part is Part.WEEKDAY:
        return WEEKDAYS[round(number) % 7]
    return round(number - 1) % 31 + 1


def named(number: float, part: Part) -> str:
    """Return a number of the calendar as people say it: 03:10, Sunday, the 31st."""
    if part is Part.HOUR:
        minutes = round(number * 60) % 1440
        return f"{minutes // 60:02}:{minutes % 60:02}"
    if part is Part.WEEKDAY:
        return WEEKDAYS[round(number) % 7]
    day = round(number - 1) % 31 + 1
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"the {day}{ending}"
