"""a column of times -> its moments, and the form of each: the same cells as `Time.read`, a column
at a time.

It reads every form, cell by cell. A schema takes the cells of its own form alone; a replay takes
them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.time.form import (
    COMPACT,
    DAY,
    FIRST,
    IN_A_SECOND,
    LAST,
    NO_TIME,
    NUMBER,
    SECOND,
    UNITS,
    YEARS,
    ZONED,
    Form,
)
from vaewatch.scoring.time.local import to_utc
from vaewatch.scoring.time.texts import DateOrder
from vaewatch.scoring.time.time import BLANK, Time
from vaewatch.scoring.time.written import FORMS, UNREADABLE, moments_of_texts, order_of
from vaewatch.scoring.time.zone import warn_of_offsets


@dataclass(frozen=True)
class Moments:
    """What N cells say.

    moments: (N,) microseconds since 1970; of a form without an offset in its own zone. NO_TIME
    where there is none. forms: (N,) index in FORMS, UNREADABLE if there is none. given: (N,)
    whether the cell holds anything. order: in which dates such as 3/29/2026 were read.
    """

    moments: NDArray[np.int64]
    forms: NDArray[np.int8]
    given: NDArray[np.bool_]
    order: DateOrder | None = None

    def of_form(self, form: Form) -> NDArray[np.bool_]:
        """(N,) whether a cell has this form; the number 0 has each unit since 1970."""
        own = self.forms == FORMS.index(form)
        if form in IN_A_SECOND:
            own |= (self.forms == FORMS.index(Form.SECONDS)) & (self.moments == 0)
        return np.asarray(own)

    def in_utc(self, zone: str) -> NDArray[np.int64]:
        """(N,) moments, those without an offset read in this zone."""
        local = np.isin(self.forms, [FORMS.index(form) for form in ZONED])
        if not local.any():
            return self.moments
        moments = self.moments.copy()
        moments[local] = to_utc(moments[local], zone)
        return moments


def read_moments(series: pl.Series, order: DateOrder | None = None) -> Moments | None:
    """Read texts, numbers since 1970, years, digits such as 20260329, dates and timestamps; None
    of a type that holds no times. Dates such as 3/29/2026 are read in this order, or as they tell.

    Raises:
        SchemaError: they do not tell.
    """
    series = without_blanks(series, BLANK)
    if series.dtype == pl.String:
        order = order_of(series, order)
        return replace(_of_any_texts(series, order), order=order)
    if series.dtype == pl.Null:
        return _together(series.cast(pl.Int64), np.full(len(series), UNREADABLE), series)
    if series.dtype.is_numeric():
        return _of_numbers(series.cast(pl.Float64, strict=False))
    if series.dtype == pl.Date:
        days = series.cast(pl.Datetime("us"))
        return _together(days.dt.epoch("us"), _forms(series, Form.DATE), series)
    if isinstance(series.dtype, pl.Datetime):
        form = Form.LOCAL if series.dtype.time_zone is None else Form.OFFSET
        return _together(series.dt.epoch("us"), _forms(series, form), series)
    return None


def _forms(series: pl.Series, form: Form) -> NDArray[np.int64]:
    return np.full(len(series), FORMS.index(form))


def _together(moments: pl.Series, forms: NDArray[np.int64], given: pl.Series) -> Moments:
    """Put the answer together; a moment out of range is unreadable."""
    fine = moments.is_between(FIRST, LAST).fill_null(False).to_numpy()
    numbers = moments.fill_null(NO_TIME).to_numpy()
    return Moments(
        np.where(fine, numbers, NO_TIME),
        np.where(fine, forms, UNREADABLE).astype(np.int8),
        given.is_not_null().to_numpy(),
    )


def _of_numbers(numbers: pl.Series) -> Moments:
    """Take the unit of each number by its size; or, if all are years, or digits of dates, read
    these.
    """
    whole = numbers.drop_nulls()
    if len(whole):
        for read in (_years, _digits):
            if not read(whole)[0].null_count():
                return _together(*read(numbers), numbers)
    moments, forms = _since_1970(numbers)
    return _together(moments, forms, numbers)


def _since_1970(numbers: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return the moments of numbers since 1970, null where one is none, and their units."""
    size = numbers.abs().fill_null(np.inf).to_numpy()
    at = np.searchsorted(list(UNITS.values()), size)  # an end belongs to the smaller unit
    units = [*UNITS, None]
    factor = np.array([SECOND / IN_A_SECOND[u] if u else np.nan for u in units])[at]
    moments = np.rint(numbers.fill_null(np.nan).to_numpy() * factor)
    fine = np.abs(moments) <= max(LAST, -FIRST)  # so that the cast cannot overflow
    read = pl.Series(np.where(fine, moments, 0.0)).cast(pl.Int64).set(pl.Series(~fine), None)
    forms = np.array([FORMS.index(u) if u else UNREADABLE for u in units])[at]
    return read, forms


def _digits(numbers: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return the moments of numbers such as 20260329, null where one is none, and the forms."""
    text = numbers.cast(pl.Int64, strict=False).cast(pl.String)
    text = text.set(~text.str.contains(COMPACT).fill_null(False), None)
    date = (text.str.len_chars() == 8).fill_null(False).to_numpy()
    moments = text.str.pad_end(14, "0").str.to_datetime(
        "%Y%m%d%H%M%S", strict=False, time_unit="us"
    )
    forms = np.where(date, FORMS.index(Form.DIGITS_OF_DATE), FORMS.index(Form.DIGITS))
    return moments.dt.epoch("us"), forms


def _years(numbers: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return the moments of years such as 2026.25, null where a number is none, and the form."""
    fine = numbers.is_between(*YEARS).fill_null(False).to_numpy()
    years = np.where(fine, numbers.fill_null(0.0).to_numpy(), YEARS[0])
    whole = np.floor(years).astype(np.int64)
    starts = np.array([whole, whole + 1]) - 1970
    first, after = starts.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    seconds = np.rint((years - whole) * (after - first) * (DAY // SECOND)).astype(np.int64)
    moments = pl.Series(first * DAY + seconds * SECOND).set(pl.Series(~fine), None)
    return moments, _forms(numbers, Form.YEARS)


def _of_any_texts(texts: pl.Series, order: DateOrder | None) -> Moments:
    """Read the ways to write a time, and texts of numbers as numbers."""
    moments, forms = moments_of_texts(texts, order)
    is_number = texts.str.contains(NUMBER).fill_null(False)
    if not is_number.any():
        return _together(moments, forms, texts)
    rows = is_number.arg_true()
    found = _of_numbers(texts[rows].str.strip_chars().cast(pl.Float64, strict=False))
    whole = moments.fill_null(NO_TIME).to_numpy().copy()
    whole[rows.to_numpy()], forms[rows.to_numpy()] = found.moments, found.forms
    read = pl.Series(whole)
    return _together(read.set(read == NO_TIME, None), forms, texts)


@dataclass(frozen=True)
class Checked:
    """The moments of a time column in UTC, NO_TIME where a cell is missing or breaks its rule.

    bad: (N,) cells that are no time of the schema's form. lost: (N,) cells that hold none,
    although the fit data always do.
    """

    moments: NDArray[np.int64]
    bad: NDArray[np.bool_]
    lost: NDArray[np.bool_]


def check_moments(time: Time, series: pl.Series) -> Checked:
    """Read a column of times by the schema's form alone."""
    found = _of_form(time, without_blanks(series, time.blank))
    fine = found.of_form(time.form)
    if time.form is Form.LOCAL:
        offset = found.of_form(Form.OFFSET)
        if time.assumed and offset.any():
            warn_of_offsets(time.column)
        fine |= offset
    moments = np.where(fine, found.in_utc(time.zone), NO_TIME)
    lost = ~found.given if time.required else np.zeros(len(series), bool)
    return Checked(moments, found.given & ~fine, lost)


def without_blanks(series: pl.Series, blank: Sequence[str]) -> pl.Series:
    """Return a column in which what means "missing" is null."""
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return series.set(series.str.strip_chars().is_in(list(blank)).fill_null(False), None)
    return series.fill_nan(None) if series.dtype.is_float() else series


def _of_form(time: Time, series: pl.Series) -> Moments:
    numbers = series
    if series.dtype == pl.String:
        text = series.str.strip_chars()
        numbers = text.set(~text.str.contains(NUMBER).fill_null(False), None)
    if time.form in READ:
        if series.dtype == pl.String or series.dtype.is_numeric():
            read = READ[time.form]
            return _together(*read(numbers.cast(pl.Float64, strict=False)), series)
    elif series.dtype == pl.String:
        return _together(*moments_of_texts(series, time.order), series)
    found = None if series.dtype.is_numeric() else read_moments(series)
    if found is not None:
        return found
    none = np.full(len(series), NO_TIME), np.full(len(series), UNREADABLE, np.int8)
    return Moments(*none, series.is_not_null().to_numpy())


READ = {
    **dict.fromkeys(IN_A_SECOND, _since_1970),
    **dict.fromkeys((Form.DIGITS, Form.DIGITS_OF_DATE), _digits),
    Form.YEARS: _years,
}
