"""frame -> Schema: each column's kind, categories and range, learned once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import (
    as_booleans,
    as_categories,
    as_numbers,
    without_codes,
)
from vaewatch.scoring.schema import NULL_TOKENS, PLACES, Column, Kind, Schema
from vaewatch.scoring.spelling.categories import one_spelling
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.kinds import (
    MEND,
    TextKind,
    TimestampError,
    broken,
    kind_of_text,
    no_number,
    number_format,
)
from vaewatch.training.records.time import calendar_columns, learn_time

MAX_CATEGORIES = 1000  # that have a name; the rest share one bucket
MAX_SEGMENTS = PLACES  # the same of a segment's column: each is a label of metrics
MIN_CATEGORY_COUNT = 2  # of a category: see `_categorical`


def infer_schema(frame: pl.DataFrame, config: TrainConfig) -> Schema:
    """Infer the schema of the columns that are to be learned.

    Raises:
        SchemaError: a named column is not there, nothing is left to learn, or a column's kind is
        in doubt.
    """
    names = columns_to_learn(frame, config)
    columns = tuple(replace(c, nulls=config.nulls) for c in _infer(frame[names], config))
    if all(frame[name].null_count() == len(frame) for name in names):
        raise SchemaError("there must be a value to learn from, but every cell is missing.")
    ignored = tuple(config.ignore)
    entity = config.entity if config.windowed else None
    schema = Schema(
        columns, config.id, config.label, ignored, segment=config.segment, entity=entity
    )
    return schema if config.time is None else _with_time(schema, frame, config)


def _with_time(schema: Schema, frame: pl.DataFrame, config: TrainConfig) -> Schema:
    series = frame[config.time or ""]
    time = learn_time(series, config)
    derived = tuple(calendar_columns(time, series))
    for column in derived:
        if column.name in frame.columns:
            raise SchemaError(
                f"column '{column.name}' must not be in the input, since the calendar of "
                f"'{time.column}' has that name. Rename it, or pass --calendar none."
            )
    return replace(schema, columns=(*schema.columns, *derived), time=time)


def columns_to_learn(frame: pl.DataFrame, config: TrainConfig) -> list[str]:
    """Return the names of the columns that are neither id nor label, time nor entity nor ignored.

    Raises:
        SchemaError: a named column is not there, or none is left.
    """
    config.require_named(frame.columns)
    apart = {config.id, config.label, config.time, config.entity, *config.ignore}
    names = [name for name in frame.columns if name not in apart]
    if not names:
        raise SchemaError(
            "there must be a column to learn, but all are id, label, time, entity or ignored."
        )
    return names


def _infer(frame: pl.DataFrame, config: TrainConfig) -> Iterator[Column]:
    """Yield every column; those of times are refused together."""
    times = []
    for series in frame.get_columns():
        try:
            declared, most = (
                _declared(series.name, config),
                most_names(series.name, config.segment),
            )
            yield infer_column(series, declared, config.decimal, most)
        except TimestampError:
            times.append(series.name)
    if times:
        raise TimestampError(times, config.time)


def _declared(name: str, config: TrainConfig) -> Kind | None:
    """Return the kind that a column was declared; a segment is categorical, whatever its type."""
    return Kind.CATEGORICAL if name == config.segment else config.kinds.get(name)


def most_names(column: str, segment: str | None) -> int:
    """Return how many categories of a column may have a name."""
    return MAX_SEGMENTS if column == segment else MAX_CATEGORIES


def segment_groups(frame: pl.DataFrame, segment: str) -> NDArray[np.int64]:
    """Return the group of records that have the same segment, in whatever spelling, (N,); -1 where
    it is missing.
    """
    text = _one_spelling(without_codes(frame[segment]))
    names, groups = np.unique(text.fill_null("").to_numpy(), return_inverse=True)
    return np.where(names[groups] == "", -1, groups)


def with_categories_of(schema: Schema, fit: pl.DataFrame) -> Schema:
    """Return the schema with what a record can be unlike: the categories of the fit records.

    A column's kind, range and whether it was ever missing describe the input, and come from all
    records. What calibrates must meet the same unseen categories as new records do.
    """
    columns = tuple(
        column
        if column.kind is Kind.CIRCULAR
        else _as_fitted(column, fit[column.name], most_names(column.name, schema.segment))
        for column in schema.columns
    )
    return replace(schema, columns=columns)


def _as_fitted(column: Column, series: pl.Series, most: int) -> Column:
    if column.kind is Kind.CATEGORICAL:
        return replace(column, categories=_categorical(series, most).categories)
    if column.kind is Kind.NUMERIC and not column.required:
        fitted = _numeric(series, column.format)
        if fitted.kind is not Kind.NUMERIC:  # it is missing in all of them
            return replace(fitted, nulls=column.nulls)
    return column


def infer_column(
    series: pl.Series,
    declared: Kind | None = None,
    decimal: str | None = None,
    most: int = MAX_CATEGORIES,
) -> Column:
    """Infer one column; its kind is the declared one, else that of its values.

    most: categories that may have a name.
    """
    series = without_codes(series)
    if declared is Kind.NUMERIC:
        return _numeric(series, _format_of(series, decimal))
    found = TextKind(declared) if declared else _kind(series, decimal)
    if found.kind is Kind.NUMERIC:
        return _numeric(series, found.format)
    if found.kind is Kind.BOOLEAN:
        values, bad = as_booleans(series, NULL_TOKENS)
        _refuse(series, bad, "must be true, false, 0 or 1")
        return Column(series.name, found.kind, required=not values.null_count())
    return _categorical(series, most)


def _kind(series: pl.Series, decimal: str | None) -> TextKind:
    if series.dtype == pl.Boolean:
        return TextKind(Kind.BOOLEAN)
    if series.dtype.is_numeric():
        return TextKind(Kind.NUMERIC)
    if series.dtype in (pl.Duration, pl.Time):
        unit = "seconds" if series.dtype == pl.Duration else "its hour"
        raise no_number(series.name, f"{series.dtype}", unit)
    if series.dtype.is_temporal():
        raise TimestampError([series.name])
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        what = "lists or objects" if series.dtype.is_nested() else f"{series.dtype}"
        raise SchemaError(
            f"column '{series.name}' must hold numbers, texts or booleans, got {what}. Give each "
            "value in them a column of its own, or leave it out with --ignore."
        )
    return kind_of_text(series.cast(pl.String), decimal)


def _format_of(series: pl.Series, decimal: str | None) -> NumberFormat | None:
    """Return the format of a column that was declared numeric; None for plain numbers."""
    if series.dtype != pl.String:
        return None
    if decimal != "," and not as_numbers(series, NULL_TOKENS)[1].any():
        return None
    return number_format(series, decimal)


def _numeric(series: pl.Series, spelling: NumberFormat | None = None) -> Column:
    numbers, bad = as_numbers(series, NULL_TOKENS, spelling)
    _refuse(series, bad, "must be a number")
    _refuse(series, np.isinf(numbers), "must be finite")
    missing = np.isnan(numbers)
    given = numbers[~missing]
    if not len(given):  # a column that is always missing: any value there is unseen
        return Column(series.name, Kind.CATEGORICAL, required=False)
    whole = bool(np.all(given == np.round(given)))
    return Column(
        series.name,
        Kind.NUMERIC,
        required=not missing.any(),
        low=float(given.min()),
        high=float(given.max()),
        integer=whole,
        format=spelling,
    )


def _refuse(series: pl.Series, bad: np.ndarray[tuple[int], np.dtype[np.bool_]], rule: str) -> None:
    if bad.any():
        null = (
            " A text that means missing is named with --null." if series.dtype == pl.String else ""
        )
        raise broken(series, bad, rule, MEND + null)


def _categorical(series: pl.Series, most: int) -> Column:
    """Give values that recur a name, the `most` frequent ones.

    Values that occur once share one with those that will be new: as often as one of n records
    brought a value of its own, as often the next will (Good & Turing, 1953). A single one is no
    such pattern, and keeps its name.
    """
    text = _one_spelling(series)
    counts = text.drop_nulls().value_counts().rename({series.name: "value"})
    frequent = counts.filter(pl.col("count") >= MIN_CATEGORY_COUNT)
    if len(counts) > most or len(counts) - len(frequent) > 1:
        counts = frequent
    ranked = counts.sort(["count", "value"], descending=[True, False]).head(most)
    names = tuple(ranked["value"].to_list())
    return Column(series.name, Kind.CATEGORICAL, required=not text.null_count(), categories=names)


def _one_spelling(series: pl.Series) -> pl.Series:
    text = as_categories(series)
    given = text.drop_nulls().unique()
    spelled = one_spelling(set(given.to_list()))
    changed = {raw: name or None for raw, name in spelled.items() if raw != name}
    return text.replace(changed) if changed else text
