"""a column of times -> Time, and the circular columns that its calendar gives."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.schema import Column, Kind
from vaewatch.scoring.time.calendar import calendar_of, shortest_arc
from vaewatch.scoring.time.form import (
    COARSE,
    DATES,
    DAY,
    KNOWN,
    NO_TIME,
    NUMBERS,
    Form,
    spell,
)
from vaewatch.scoring.time.frames import (
    Moments,
    check_moments,
    read_moments,
    without_blanks,
)
from vaewatch.scoring.time.local import to_local
from vaewatch.scoring.time.parts import PERIODS, Part
from vaewatch.scoring.time.texts import ISO
from vaewatch.scoring.time.time import BLANK, Time
from vaewatch.scoring.time.written import FORMS
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.kinds import broken

log = logging.getLogger("vaewatch.training")

# An hour is learned from three days, and a weekday from three weeks: what comes back is told from
# what came once, and a record of tomorrow meets hours and days that were seen before.
LEAST_DAYS, LEAST_WEEKS, LEAST_MONTHS = 3, 3, 3
TEXTS = (Form.OFFSET, Form.LOCAL, Form.DATE, Form.MONTH)  # they are written in many ways
USUAL = 0.9  # of the records lie in the usual arc
WIDE = 0.75  # of the circle: a longer arc says nothing


def learn_time(series: pl.Series, config: TrainConfig) -> Time:
    """Learn how a column writes its times, and which parts of them are to be learned.

    Raises:
        ColumnError: cells are no times, or of another form than most.
        SchemaError: the column holds none.
    """
    series = without_blanks(series, (*BLANK, *config.nulls))
    found = read_moments(series, config.order)
    if found is None:
        raise SchemaError(f"--time column '{series.name}' must hold {KNOWN}, got {series.dtype}.")
    form = _form_of(series, found)
    time = Time(series.name, form, config.zone, nulls=config.nulls, order=found.order)
    checked = check_moments(time, series)
    wrong = (found.given & ~found.of_form(form)) | checked.bad
    if wrong.any():
        written = _written(time, series.filter(pl.Series(found.given & ~wrong)))
        raise broken(series, wrong, f"must be a time as most of it, {written}", _MENDS)
    moments = checked.moments[checked.moments != NO_TIME]
    time = replace(
        time,
        required=bool(found.given.all()),
        first=str(spell(int(moments.min()), Form.OFFSET)),
        last=str(spell(int(moments.max()), Form.OFFSET)),
    )
    parts = _parts(time, moments, config.parts)
    assumed = bool(parts) and form is Form.LOCAL and config.time_zone is None
    return replace(time, calendar=parts, assumed=assumed)


_MENDS = " Mend them, or set them aside with --rejects FILE."


def _written(time: Time, most: pl.Series) -> str:
    """Return how these cells write a time; the first one shows it if that is not ISO 8601."""
    plain = time.order is not None or time.form not in TEXTS or most.dtype != pl.String
    if plain or not len(most) or re.match(ISO, most[0]):
        return time.written
    return f"such as {_first(most)}"


def _form_of(series: pl.Series, found: Moments) -> Form:
    """Return the form that most cells have."""
    known = found.forms[found.given & (found.forms >= 0) & (found.moments != 0)]
    if not len(known):
        known = found.forms[found.given & (found.forms >= 0)]
    if not len(known):
        held = "no value at all" if not found.given.any() else f"values such as {_first(series)}"
        raise SchemaError(
            f"--time column '{series.name}' must hold {KNOWN}, got {held}. "
            "Write them so, with pandas.to_datetime for instance, or name another column."
        )
    return FORMS[int(np.bincount(known).argmax())]


def _first(series: pl.Series) -> str:
    return f"'{str(series.drop_nulls()[0])[:40]}'"


def _parts(
    time: Time, moments: NDArray[np.int64], chosen: tuple[Part, ...] | None
) -> tuple[Part, ...]:
    """Return the parts that are learned: those chosen, or the hour and the weekday where the
    moments come from enough days and weeks.

    Raises:
        SchemaError: a part that was chosen does not vary.
    """
    local = to_local(moments, time.zone)
    days = np.unique(local // DAY)
    weeks = np.unique((days + 3) // 7)
    months = np.unique(days.astype("datetime64[D]").astype("datetime64[M]"))
    enough = {
        Part.HOUR: len(days) >= LEAST_DAYS and time.form not in DATES,
        Part.WEEKDAY: len(weeks) >= LEAST_WEEKS and time.form not in COARSE,
        Part.DAY: len(months) >= LEAST_MONTHS,
    }
    wanted = (Part.HOUR, Part.WEEKDAY) if chosen is None else chosen
    found = []
    for part in wanted:
        numbers = calendar_of(moments, time.zone, part)
        varies = bool(numbers.min() < numbers.max())
        if chosen is not None and not varies:
            raise SchemaError(
                f"--calendar {part}: the {part} of column '{time.column}' must vary to be "
                "learned, but all records have the same. Leave it out."
            )
        if varies and (chosen is not None or enough[part]):
            found.append(part)
    return tuple(found)


def calendar_columns(time: Time, series: pl.Series) -> Iterator[Column]:
    """Yield the circular columns that the calendar of a time gives."""
    moments = check_moments(time, series).moments
    given = moments[moments != NO_TIME]
    for part in time.calendar:
        numbers, period = calendar_of(given, time.zone, part), PERIODS[part]
        yield Column(
            time.column_of(part),
            Kind.CIRCULAR,
            required=time.required,
            period=period,
            usual=usual_arc(numbers, period),
        )


def usual_arc(numbers: NDArray[np.float64], period: float) -> tuple[float, float] | None:
    """Return the shortest arc with most of (N,) numbers; None if it is most of the circle."""
    start, end = shortest_arc(numbers, period, USUAL)
    return (start, end) if (end - start) % period <= WIDE * period else None


def unit_note(time: Time) -> str | None:
    """Return how a time was read, for people, where it could be read in another way."""
    if time.order is not None:
        return (
            f"the dates of column '{time.column}' are read with the {time.order} first: "
            f"{time.first[:10]} to {time.last[:10]}."
        )
    if time.form in (*NUMBERS, Form.DIGITS, Form.DIGITS_OF_DATE):
        return f"column '{time.column}' is read as {time.written}."
    return None
