"""A column of texts -> its moments and their forms: the same cells as `moment_of_text`, a column
at a time; whether it holds times at all, in whatever spelling; and what comes first in its dates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.time.form import NO_TIME, NUMBER, SECOND, Form
from vaewatch.scoring.time.texts import CENTURY, MONTHS, NUMERIC, PATTERNS, DateOrder

FORMS = tuple(Form)  # the index of each stands for it in an array
UNREADABLE = -1
MOST_MONTHS = 12
NUMERIC_START = r"^\s*[0-9]{1,2}[-/.][0-9]{1,2}[-/.]"

LOOKED_AT = 2000  # values that decide
MOST = 0.5  # of them: a column with more times than this was meant as times

# What are times, though some cannot be read: names in any language, zones by their letters.
_DAY, _MONTH, _YEAR = r"(0?[1-9]|[12]\d|3[01])", r"(0?[1-9]|1[0-2])", r"(19|20)\d{2}"
_NAME = r"\p{L}{3,10}\.?"
_DATES = (
    rf"\d{{4}}[-/.]{_MONTH}[-/.]{_DAY}",
    rf"{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}",
    rf"{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}",
    r"(0[1-9]|[12]\d|3[01])[-/.](0[1-9]|1[0-2])[-/.]\d{2}",
    r"(0[1-9]|1[0-2])[-/](0[1-9]|[12]\d|3[01])[-/]\d{2}",
    rf"{_DAY}(st|nd|rd|th)?\.?[ /-]?{_NAME}[ ,/-]*({_YEAR}|'?\d{{2}})",
    rf"{_NAME} {_DAY}(st|nd|rd|th)?,? {_YEAR}",
    r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T",
)
_ZONE = r" ?(Z|[+-]\d{2}(:?\d{2})?|[A-Z]{3,5})?( ?\([^)]*\))?"
_CLOCK = rf"\d{{1,2}}[:.h]\d{{2}}([:.]\d{{2}}([.,:]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?{_ZONE}"
_DAY_OF_WEEK = r"(\p{L}{2,10}\.?,? )?"
TIME = rf"^{_DAY_OF_WEEK}({'|'.join(_DATES)})([T ,:]+(at )?{_CLOCK})?$"
COMPACT = rf"^{_DATES[-1]}\d{{4,6}}([.,]\d+)?{_ZONE}$"
REVERSED = rf"^{_CLOCK},? ({'|'.join(_DATES)})$"
# `date` and C's asctime: Mon Aug 25 15:41:00 2025, with a zone in between
C_TIME = rf"^\p{{L}}{{3}} {_NAME} +{_DAY} \d{{2}}:\d{{2}}:\d{{2}} ([A-Z]{{3,5}} )?{_YEAR}$"


def are_times(texts: pl.Series) -> bool:
    """Return whether most of the first (N,) texts read as dates or times."""
    head = texts.head(LOOKED_AT)
    found = head.str.contains(f"{TIME}|{COMPACT}|{REVERSED}|{C_TIME}")
    return len(head) > 0 and found.sum() > MOST * len(head)


def order_of(texts: pl.Series, said: DateOrder | None = None) -> DateOrder | None:
    """Return what comes first in dates such as 3/29/2026: what was said, if there is one, or what
    those tell that can be read in one way alone; None if most are no such dates. With points, it
    is the day unless one says otherwise.

    Raises:
        SchemaError: no date tells, or some begin with the day and some with the month.
    """
    such = texts.str.contains(NUMERIC_START).sum()
    if said is not None:
        return said if such else None
    if such <= MOST * texts.count():
        return None
    seen, either = dict[DateOrder, str](), dict[str, str]()
    for mark, pattern in NUMERIC.items():
        found = texts.str.extract_groups(pattern).struct.unnest()
        numbers = found.select(pl.col("one", "two").cast(pl.Int64, strict=False))
        for order, number in zip(DateOrder, numbers, strict=True):
            told = (number > MOST_MONTHS).fill_null(False).arg_true()
            if len(told):
                seen[order] = texts[int(told[0])]
        dates = numbers["one"].is_not_null().arg_true()
        if len(dates):
            either[mark] = texts[int(dates[0])]
    if len(seen) > 1:
        raise SchemaError(
            f"column '{texts.name}' must hold dates in one order, got '{seen[DateOrder.DAY]}', "
            f"which begins with the day, and '{seen[DateOrder.MONTH]}', which does not."
        )
    if seen or not either:
        return next(iter(seen), None)
    if list(either) == ["."]:
        return DateOrder.DAY
    raise SchemaError(
        f"column '{texts.name}' holds dates such as '{next(iter(either.values()))}', which may "
        "begin with the day or the month, and none that tells. Say it with --date-order day, or "
        "month, or write them as 2026-03-29."
    )


def moments_of_texts(
    texts: pl.Series, order: DateOrder | None
) -> tuple[pl.Series, NDArray[np.int64]]:
    """Return the moments of texts, null where one is none, and their forms; see
    `vaewatch.scoring.time.texts`, whose first pattern that a text matches decides.

    Digits alone are none.
    """
    moments, forms = np.full(len(texts), NO_TIME), np.full(len(texts), UNREADABLE)
    rows = (texts.is_not_null() & ~texts.str.contains(NUMBER)).arg_true().to_numpy()
    for pattern in PATTERNS[order]:
        if not len(rows):
            break
        found = _by_pattern(texts[rows], pattern)
        matched = found["form"].is_not_null().to_numpy()
        moments[rows[matched]] = found["moment"].fill_null(NO_TIME).to_numpy()[matched]
        forms[rows[matched]] = found["form"].to_numpy()[matched]
        rows = rows[~matched]
    read = pl.Series(moments)
    return read.set(read == NO_TIME, None), forms


def _by_pattern(texts: pl.Series, pattern: str) -> pl.DataFrame:
    """Return the moment of each text, null where it is none, and its form, null where it does not
    match.
    """
    found = pl.DataFrame({"text": texts}).select(
        pl.col("text").str.extract_groups(pattern).alias("found")
    )
    parts = found.unnest("found")
    given = [name for name in parts.columns if parts[name].null_count() < len(parts)]
    if "year" not in given:
        nothing = pl.repeat(None, len(texts), dtype=pl.Int64, eager=True)
        return pl.DataFrame({"moment": nothing, "form": nothing})

    def number(name: str) -> pl.Expr:
        if name not in given:
            return pl.lit(0, pl.Int64)
        return pl.col(name).cast(pl.Int64, strict=False).fill_null(0)

    def has(name: str) -> pl.Expr:
        return pl.col(name).is_not_null() if name in given else pl.lit(False)

    hour = number("hour")
    if "half" in given:
        after = hour % 12 + 12 * pl.col("half").str.to_lowercase().eq("p").cast(pl.Int64)
        clock = pl.when(hour.is_between(1, 12)).then(after)
        hour = pl.when(has("half")).then(clock).otherwise(hour)
    away = (number("hours") * 60 + number("minutes")) * 60
    if "sign" in given:
        away = pl.when(pl.col("sign") == "-").then(-away).otherwise(away)
    seconds = hour * 3600 + number("minute") * 60 + number("second") - away
    moment = _days(given).dt.epoch("us") + seconds * SECOND
    if "fraction" in given:
        fraction = pl.col("fraction").fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
        moment += fraction.cast(pl.Int64)
    form = (
        pl.when(pl.col("year").is_null())
        .then(None)
        .when(~has("day") & ~has("week"))
        .then(FORMS.index(Form.MONTH))
        .when(~has("hour"))
        .then(FORMS.index(Form.DATE))
        .when(~has("zone"))
        .then(FORMS.index(Form.LOCAL))
        .otherwise(FORMS.index(Form.OFFSET))
    )
    return parts.select(moment.alias("moment"), form.alias("form").cast(pl.Int64))


def _days(given: Sequence[str]) -> pl.Expr:
    """Return the day of each row of groups, of which these are given somewhere."""
    short = pl.col("year").cast(pl.Int64, strict=False)
    year = (
        pl.when(pl.col("year").str.len_chars() == 2)
        .then((short + pl.when(short >= CENTURY).then(1900).otherwise(2000)).cast(pl.String))
        .otherwise(pl.col("year"))
    )
    if "week" in given:
        return _day_of_week(year, given)
    month = pl.col("month") if "month" in given else pl.lit("01")
    if "name" in given:
        number = {name: f"{at:02}" for at, name in enumerate(MONTHS, 1)}
        short_name = pl.col("name").str.slice(0, 3).str.to_lowercase()
        month = short_name.replace_strict(number, default=None)
    if "quarter" in given:
        first = pl.col("quarter").cast(pl.Int64, strict=False) * 3 - 2
        month = first.cast(pl.String)
    day = pl.col("day").fill_null("01") if "day" in given else pl.lit("01")
    whole = pl.concat_str(year, month.str.zfill(2), day.str.zfill(2), separator="-")
    return whole.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")


def _day_of_week(year: pl.Expr, given: Sequence[str]) -> pl.Expr:
    """Return a day of a week of ISO 8601, whose first one has January 4; null of a week 53 that a
    year has not.
    """
    fourth = pl.concat_str(year, pl.lit("-01-04")).str.to_datetime(
        "%Y-%m-%d", strict=False, time_unit="us"
    )
    weekday = pl.col("weekday").cast(pl.Int64).fill_null(1) if "weekday" in given else pl.lit(1)
    days = 7 * (pl.col("week").cast(pl.Int64, strict=False) - 1)
    monday = fourth + pl.duration(days=days - fourth.dt.weekday() + 1)
    fine = monday.dt.iso_year() == year.cast(pl.Int64, strict=False)
    return pl.when(fine).then(monday + pl.duration(days=weekday - 1))
