"""a column of times -> minutes since 1970, whatever unit the numbers have."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from vaewatch.scoring.errors import SchemaError

# Numbers up to so many are in this unit: seconds until the year 5138, milliseconds from 1973 on,
# and so on.
UNITS = {"seconds": 1e11, "milliseconds": 1e14, "microseconds": 1e17, "nanoseconds": 1e20}
FIRST, LAST = -36_816_480, 120_968_640  # minutes: 1900 and 2200; beyond are 9999-12-31 and slips
KNOWN = (
    "ISO 8601 (2026-03-29T20:00:00Z, 2026-03-29 20:00, 2026/03/29, 20260329), or seconds, "
    "milliseconds, microseconds or nanoseconds since 1970"
)
# other spellings of ISO 8601 than the one that is parsed
SPELLINGS = {
    r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)?": "$1-$2-${3}T$4:$5:$6",
    r"^(\S+) +(\d)": "${1}T${2}",
    r"(?i) ?(Z|UTC|GMT)$": "+00:00",
    r"(T[\d:.,]+) ?([+-]\d\d):?(\d\d)?$": "${1}${2}:${3}",
    r"([+-]\d\d):$": "$1:00",  # as PostgreSQL has it
    r"(T\d\d?:\d\d):?([+-]|$)": "$1:00$2",
    r"(T\d\d?:\d\d:\d\d),(\d)": "$1.$2",
}


@dataclass(frozen=True)
class Times:
    """minutes: (N,) since 1970, null where there is no time. unit: of the numbers, '' for text
    and timestamps.
    """

    minutes: pl.Series
    unit: str


def read_times(times: pl.Series) -> Times:
    """Read ISO 8601 texts (UTC if they name no zone), numbers since 1970, or timestamps."""
    if times.dtype == pl.String:
        seconds, unit = _of_text(times)
    elif times.dtype.is_numeric():
        seconds, unit = _of_numbers(times.cast(pl.Float64, strict=False))
    elif times.dtype in (pl.Date, pl.Datetime):
        seconds, unit = times.dt.epoch("s").cast(pl.Float64), ""
    else:
        raise SchemaError(f"--time column '{times.name}' must hold {KNOWN}, got {times.dtype}.")
    minutes = (seconds / 60).floor().cast(pl.Int64, strict=False)
    return Times(minutes.set(~minutes.is_between(FIRST, LAST), None), unit)


def minutes_of(times: pl.Series) -> pl.Series:
    """(N,) minutes since 1970; null where there is no time."""
    return read_times(times).minutes


def _of_numbers(numbers: pl.Series) -> tuple[pl.Series, str]:
    """Return seconds, and the finest unit that is needed; or, of dates such as 20260329, text."""
    whole = numbers.drop_nulls().drop_nans()
    if len(whole) and _of_compact(whole).null_count() == 0:
        return _of_compact(numbers), ""
    size, seconds, least, unit = numbers.abs(), pl.lit(None, pl.Float64), -1.0, ""
    for power, (name, most) in enumerate(UNITS.items()):
        here = (pl.col("s") > least) & (pl.col("s") <= most)
        seconds = pl.when(here).then(pl.col("n") / 10 ** (3 * power)).otherwise(seconds)
        unit = name if ((size > least) & (size <= most)).any() else unit
        least = most
    return pl.DataFrame({"n": numbers, "s": size}).select(seconds).to_series(), unit


def _of_compact(numbers: pl.Series) -> pl.Series:
    """Return the seconds of dates without a separator, which a unit's number never looks like all
    through a chunk; null where it is none.
    """
    text = numbers.cast(pl.Int64, strict=False).cast(pl.String)
    text = text.set(~text.str.contains(r"^(19|20)\d{6}(\d{4}|\d{6})?$").fill_null(False), None)
    padded = text.str.pad_end(14, "0")
    return padded.str.to_datetime("%Y%m%d%H%M%S", strict=False).dt.epoch("s").cast(pl.Float64)


def _of_text(times: pl.Series) -> tuple[pl.Series, str]:
    """Parse cell by cell: the format of one says nothing about another."""
    text = pl.col("t").str.strip_chars().str.replace(r"^(\d{4})/(\d\d)/(\d\d)", "$1-$2-$3")
    for pattern, spelled in SPELLINGS.items():
        text = text.str.replace(pattern, spelled)
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_zone="UTC")
    plain = [
        text.str.to_datetime(form, strict=False)
        for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    ]
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime)
    moments = [moment.dt.epoch("s").cast(pl.Float64) for moment in (zoned, *plain, day)]
    numbers, unit = _of_numbers(times.str.strip_chars().cast(pl.Float64, strict=False))
    frame = pl.DataFrame({"t": times, "n": numbers})
    return frame.select(pl.coalesce("n", *moments)).to_series(), unit
