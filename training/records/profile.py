"""records -> ColumnProfiles: what each column is read as, what it holds, and what looks odd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.features.feature import signed_log1p
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import (
    Column,
    Kind,
    Schema,
    code_name,
    missing_code,
    other_code,
    usual_words,
)
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.parts import Part, named
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import is_count
from vaewatch.training.records.kinds import TimestampError
from vaewatch.training.records.rare import many_names, mostly_rare
from vaewatch.training.records.remarks.columns import ID_LIKE, remarks
from vaewatch.training.records.remarks.order import of_order
from vaewatch.training.records.schema import (
    columns_to_learn,
    infer_column,
    infer_schema,
    most_names,
)
from vaewatch.training.records.time import calendar_columns, learn_time

NEAR_CONSTANT = 0.99  # of the values given are the same
MOSTLY_MISSING, NEARLY_MISSING = 0.5, 0.9
RUNNING = 2.0  # whole numbers, all different, in a range this many times their number: a counter
FAR_OUT = 30.0  # standard deviations
SENTINEL = 0.005  # of the values given are the same, at one end, and this many at least:
SENTINELS, VALUES = 5, 10  # so many, beside so many different ones
OFF = 0.1  # of the values are 0, and none is less: what is off, or was not bought
EPOCH = (946_684_800, 2_208_988_800)  # seconds since 1970: the years 2000 to 2039
UNITS = (1, 10**3, 10**6, 10**9)  # that epochs count, in a second
APART = 1.0  # a sentinel lies further from the others than these spread
LABEL = re.compile(  # names of columns that say what is to be found
    r"(^|_)(label|target|class|outlier|anomal(y|ous)|fraud(ulent)?|attack|intrusion|malicious|"
    r"malware|phishing|spam)(_|$)"
)
LABELS = 50  # such a column has at most this many values
SHOWN_VALUES = 3
REFUSED = "refused"  # the kind of a column that a fit would refuse
LONGEST = 40  # characters of a category that are shown


@dataclass(frozen=True)
class ColumnProfile:
    """One column; shares are of records, `values` are for people.

    distinct: how many values differ, without missing ones; None if rare texts share a bucket, and
    `rare` is their share. warnings: sentences that begin with a word or two and a colon.
    """

    name: str
    kind: str
    missing: float
    distinct: int | None
    values: str
    warnings: tuple[str, ...]
    rare: float = 0.0


def profile_frame(frame: pl.DataFrame, config: TrainConfig) -> tuple[ColumnProfile, ...]:
    """Profile the columns that a fit with these settings would learn, and those that it would
    refuse.

    Raises:
        SchemaError: a named column is not there, or none is left to learn.
    """
    names = columns_to_learn(frame, config)
    found = tuple(_profile(frame[name], config) for name in names)
    if config.time is None:
        first = replace(found[0], warnings=(*found[0].warnings, *_of_order(frame, config)))
        return (first, *found[1:])
    refused = (profile.name for profile in found if profile.kind == REFUSED)
    readable = replace(config, ignore=(*config.ignore, *refused))
    return (*found, *_profiles_of_time(frame, readable))


def _profiles_of_time(frame: pl.DataFrame, config: TrainConfig) -> Iterator[ColumnProfile]:
    """Yield the time itself, and the circular columns that a fit would learn of it. All columns
    that are not ignored can be learned.
    """
    series = frame[config.time or ""]
    missing = series.null_count() / max(len(series), 1)
    try:
        time = learn_time(series, config)
        columns = tuple(calendar_columns(time, series))
        schema = Schema(columns, time=time)
        table = checked_table(schema, series.to_frame())
    except SchemaError as error:
        yield _refused(series, error)
        return
    distinct = len(np.unique(table.times)) if table.times is not None else None
    span = f"{time.first} to {time.last}, as {time.written}"
    yield ColumnProfile(time.column, "time", missing, distinct, span, _of_order(frame, config))
    yield from profile_columns(table)


def _of_order(frame: pl.DataFrame, config: TrainConfig) -> tuple[str, ...]:
    """Return what the order of records may mislead in; nothing where no column can be learned."""
    try:
        table = checked_table(infer_schema(frame, config), frame)
    except SchemaError:
        return ()
    return tuple(f"{remark.word}: {remark.text}" for remark in of_order(table, config))


def _profile(series: pl.Series, config: TrainConfig) -> ColumnProfile:
    try:
        declared, most = config.kinds.get(series.name), most_names(series.name, config.segment)
        column = infer_column(series, declared, config.decimal, most)
        schema = Schema((replace(column, nulls=config.nulls),))
        profile = profile_columns(checked_table(schema, series.to_frame()))[0]
        said = [f"{r.word}: {r.text}" for r in remarks(schema, series.to_frame(), config.kinds)]
        said = [text for text in said if not text.startswith(f"{ID_LIKE}:")]  # is there already
        return replace(profile, warnings=(*profile.warnings, *said))
    except TimestampError:
        return _refused(series, TimestampError([series.name], config.time))
    except SchemaError as error:
        return _refused(series, error)


def _refused(series: pl.Series, error: SchemaError) -> ColumnProfile:
    missing = series.null_count() / max(len(series), 1)
    return ColumnProfile(series.name, REFUSED, missing, None, "", (f"{REFUSED}: {error}",))


def profile_columns(table: Table) -> tuple[ColumnProfile, ...]:
    """Profile every column, in the schema's order."""
    place = table.schema.place
    return tuple(
        _numeric(column, table.numbers[:, place[column.name]])
        if column.kind is Kind.NUMERIC
        else _circular(column, table.numbers[:, place[column.name]])
        if column.kind is Kind.CIRCULAR
        else _discrete(column, table.codes[:, place[column.name]])
        for column in table.schema.columns
    )


def _numeric(column: Column, numbers: NDArray[np.float64]) -> ColumnProfile:
    given = numbers[~np.isnan(numbers)]
    missing = 1 - len(given) / len(numbers)
    if not len(given):
        return ColumnProfile(column.name, column.kind, missing, 0, "", ("no value at all.",))
    values, counts = np.unique(given, return_counts=True)
    low, middle, high = np.quantile(given, [0, 0.5, 1])
    shown = f"{low:.4g} to {high:.4g}, median {middle:.4g}"
    same = float(counts.max()) / len(given)
    warnings = (
        *_missing_warning(missing),
        *_constant_warning(same, f"{values[counts.argmax()]:.6g}"),
        *_running_warning(column, given, len(values)),
        *_time_warning(column, values),
        *_label_warning(column, len(values)),
        *_sentinel_warning(values, counts),
        *(_far_warning(given) if same < NEAR_CONSTANT else ()),
    )
    return ColumnProfile(column.name, column.kind, missing, len(values), shown, warnings)


def _circular(column: Column, numbers: NDArray[np.float64]) -> ColumnProfile:
    given = numbers[~np.isnan(numbers)]
    part = column.part
    if part is None or not len(given):
        return ColumnProfile(column.name, column.kind, 1.0, 0, "", ("no value at all.",))
    distinct = len(np.unique(given))
    last = given.max() if part is not Part.HOUR else np.floor(given.max() * 60) / 60
    low, high = (named(float(end), part) for end in (given.min(), last))
    usual = usual_words(column)
    shown = f"{low} to {high}" + (f", {usual}" if usual else "")
    missing = 1 - len(given) / len(numbers)
    return ColumnProfile(
        column.name, column.kind, missing, distinct, shown, tuple(_missing_warning(missing))
    )


def _discrete(column: Column, codes: NDArray[np.int32]) -> ColumnProfile:
    counts = np.bincount(codes, minlength=missing_code(column) + 1)
    missing = float(counts[missing_code(column)]) / len(codes)
    events = counts[: missing_code(column)]
    others = column.kind is Kind.CATEGORICAL and bool(counts[other_code(column)])
    given = max(int(events.sum()), 1)
    named = events * (np.arange(len(events)) != other_code(column)) if others else events
    top = [code for code in np.argsort(-events, kind="stable")[:SHOWN_VALUES] if events[code]]
    shown = ", ".join(f"{_name(column, c)} {events[c] / given:.1%}" for c in top)
    more = int((events > 0).sum()) - len(top)
    warnings = (
        *_missing_warning(missing),
        *_constant_warning(named.max(initial=0) / given, _name(column, named.argmax())),
        *(_id_warning(column, codes) or many_names(column, events, len(codes))),
        *_label_warning(column, int((events > 0).sum())),
    )
    return ColumnProfile(
        column.name,
        column.kind,
        missing,
        None if others else int((events > 0).sum()),
        shown + (f" and {more} more" if more > 0 else ""),
        warnings,
        float(counts[other_code(column)]) / len(codes) if others else 0.0,
    )


def clip(text: str) -> str:
    """Shorten a category, which may be a whole letter, to its beginning."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _name(column: Column, code: np.integer[Any]) -> str:
    return clip(str(code_name(column, int(code))))


def _missing_warning(share: float) -> Iterator[str]:
    if share >= NEARLY_MISSING:
        yield f"{share:.1%} missing: any value is rare here, and may alarm by being present."
    elif share >= MOSTLY_MISSING:
        yield f"{share:.1%} missing: most records have no value there."


def _constant_warning(share: float, value: str) -> Iterator[str]:
    if share == 1:
        yield f"constant: always {value}. Any other value was never seen, and counts for much."
    elif share >= NEAR_CONSTANT:
        yield f"near-constant: {share:.2%} are {value}. Any other value counts for much."


def _running_warning(column: Column, given: NDArray[np.float64], distinct: int) -> Iterator[str]:
    wide = float(np.ptp(given))
    if column.integer and distinct == len(given) > 10 and wide < RUNNING * len(given):
        yield "id-like: whole numbers, all different, as a counter gives. Name it with --id."


def _time_warning(column: Column, values: NDArray[np.float64]) -> Iterator[str]:
    """Look at (V,) ascending values, all different."""
    if not column.integer or len(values) <= VALUES:
        return
    low, high = EPOCH
    epoch = any(low * unit <= values[0] and values[-1] < high * unit for unit in UNITS)
    if epoch or _are_days(values):
        yield (
            "time-like: moments, as seconds since 1970 or 20240131. A later one is higher than "
            f"all that were learned, and may alarm. Learn its hour and weekday with --time "
            f"'{column.name}', or leave it out with --ignore '{column.name}'."
        )


def _are_days(values: NDArray[np.float64]) -> bool:
    """Return whether each number is a date such as 20240131."""
    if values[0] < 19_000_101 or values[-1] > 20_991_231:
        return False
    month, day = values // 100 % 100, values % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _label_warning(column: Column, distinct: int) -> Iterator[str]:
    if distinct <= LABELS and LABEL.search(column.name.lower()):
        yield (
            "label-like: by its name it says what is to be found. If so, name it with --label, "
            "and leave out the records that are not normal."
        )


def _sentinel_warning(values: NDArray[np.float64], counts: NDArray[np.int64]) -> Iterator[str]:
    """Look at the least and the greatest value; (V,) values ascend."""
    if len(values) <= VALUES:
        return
    least = max(SENTINELS, SENTINEL * float(counts.sum()))
    for end, others in ((0, values[1:]), (-1, values[:-1])):
        gap = np.abs(others - values[end]).min()
        off = end == 0 and values[0] == 0 and counts[0] >= OFF * counts.sum()
        if counts[end] >= least and gap > APART * np.ptp(others) and not off:
            yield (
                f"sentinel: {counts[end]:,} times {values[end]:.6g}, far from all other values. "
                "If it stands for a missing value, leave the cell empty, or pass "
                f"--null {values[end]:.15g} if no other column has it."
            )


def _far_warning(given: NDArray[np.float64]) -> Iterator[str]:
    values = signed_log1p(given) if is_count(given) else given  # as the network sees them
    deviation = float(values.std())
    if deviation > 0:
        furthest = float(np.abs(values - values.mean()).max()) / deviation
        if furthest > FAR_OUT:
            yield f"far out: one value is {furthest:.0f} deviations from the mean. Is it real?"


def _id_warning(column: Column, codes: NDArray[np.int32]) -> list[str]:
    share = mostly_rare(column, codes)
    if not share:
        return []
    return [
        f"{ID_LIKE}: {share:.0%} of the values are rare or unique. They count as one, "
        "so nothing unusual is found here. Name it with --id if it names records, leave it "
        "out with --ignore if it says nothing about them, or declare its --kind if it is not "
        "a text."
    ]
