"""frame -> Schema: each column's kind, categories and range, learned once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import as_booleans, as_categories, as_numbers, require_columns
from vaewatch.scoring.schema import NULL_TOKENS, Column, Kind, Schema
from vaewatch.training.config import TrainConfig

MAX_CATEGORIES = 100  # that get a bucket of their own; the rest share one
MIN_CATEGORY_COUNT = 2  # of a category: see `_categorical`
NUMBER_SHARE = 0.5  # a text column with more numbers than this was meant as a number column
TRUE_FALSE = ["true", "false"]


def infer_schema(frame: pl.DataFrame, config: TrainConfig) -> Schema:
    """Infer the schema of the columns that are to be learned.

    Raises:
        SchemaError: a named column is not there, nothing is left to learn, or a column's kind is
        in doubt.
    """
    require_columns(frame, [name for name in (config.id,) if name], "id")
    require_columns(frame, [name for name in (config.label,) if name], "label")
    require_columns(frame, config.ignore, "ignored")
    require_columns(frame, list(config.kinds), "declared")
    apart = {config.id, config.label, *config.ignore}
    names = [name for name in frame.columns if name not in apart]
    if not names:
        raise SchemaError("there must be a column to learn, but all are id, label or ignored.")
    columns = tuple(infer_column(frame[name], config.kinds.get(name)) for name in names)
    if all(frame[name].null_count() == len(frame) for name in names):
        raise SchemaError("there must be a value to learn from, but every cell is missing.")
    return Schema(columns, config.id, config.label, tuple(config.ignore))


def with_categories_of(schema: Schema, fit: pl.DataFrame) -> Schema:
    """Return the schema with what a record can be unlike: the categories of the fit records.

    A column's kind, range and whether it was ever missing describe the input, and come from all
    records. What calibrates must meet the same unseen categories as new records do.
    """
    columns = tuple(_as_fitted(column, fit[column.name]) for column in schema.columns)
    return replace(schema, columns=columns)


def _as_fitted(column: Column, series: pl.Series) -> Column:
    if column.kind is Kind.CATEGORICAL:
        return replace(column, categories=_categorical(series).categories)
    if column.kind is Kind.NUMERIC and not column.required:
        fitted = _numeric(series)
        return (
            column if fitted.kind is Kind.NUMERIC else fitted
        )  # it may be missing in all of them
    return column


def infer_column(series: pl.Series, declared: Kind | None = None) -> Column:
    """Infer one column; its kind is the declared one, else that of its values."""
    kind = declared or _kind(series)
    if kind is Kind.NUMERIC:
        return _numeric(series)
    if kind is Kind.BOOLEAN:
        values, bad = as_booleans(series, NULL_TOKENS)
        _refuse(series, bad, "must be true, false, 0 or 1")
        return Column(series.name, kind, required=not values.null_count())
    return _categorical(series)


def _kind(series: pl.Series) -> Kind:
    if series.dtype == pl.Boolean:
        return Kind.BOOLEAN
    if series.dtype.is_numeric():
        return Kind.NUMERIC
    if series.dtype.is_temporal():
        raise _timestamp(series.name)
    if series.dtype.is_nested() or series.dtype == pl.Binary:
        raise SchemaError(
            f"column '{series.name}' must hold numbers, texts or booleans, got {series.dtype}."
        )
    return _kind_of_text(series)


def _kind_of_text(series: pl.Series) -> Kind:
    text = series.cast(pl.String)
    numbers, bad = as_numbers(text, NULL_TOKENS)
    is_number = ~np.isnan(numbers)
    if not bad.any():
        return Kind.NUMERIC if is_number.any() else Kind.CATEGORICAL
    if as_categories(text).str.to_lowercase().drop_nulls().is_in(TRUE_FALSE).all():
        return Kind.BOOLEAN
    if is_number.sum() > NUMBER_SHARE * (is_number.sum() + bad.sum()):
        row = int(np.flatnonzero(bad)[0])
        raise SchemaError(
            f"column '{series.name}' must be a number, got a text in {bad.sum():,} of "
            f"{len(series):,} records "
            f"(the first is row {row + 1}, without the header). Mend them, or declare it: --kind "
            f"{series.name}=categorical."
        )
    if _looks_like_time(text):
        raise _timestamp(series.name)
    return Kind.CATEGORICAL


def _looks_like_time(text: pl.Series) -> bool:
    """Return whether the first values read as ISO 8601 dates or times."""
    head = text.drop_nulls().head(100)
    pattern = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
    return len(head) > 0 and bool(head.str.contains(pattern).all())


def _timestamp(name: str) -> SchemaError:
    return SchemaError(
        f"column '{name}' must not be a timestamp: a moment never comes again, so it cannot be "
        "learned. "
        f"Leave it out with --ignore {name}, or give its hour or weekday as a column of its own."
    )


def _numeric(series: pl.Series) -> Column:
    numbers, bad = as_numbers(series, NULL_TOKENS)
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
    )


def _refuse(series: pl.Series, bad: np.ndarray[tuple[int], np.dtype[np.bool_]], rule: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SchemaError(
            f"column '{series.name}' {rule}, but {bad.sum():,} of {len(series):,} records break "
            "that "
            f"(the first is row {row + 1}, without the header)."
        )


def _categorical(series: pl.Series) -> Column:
    """Give frequent values a category of their own.

    Values that occur once share one with those that will be new: as often as one of n records
    brought a value of its own, as often the next will (Good & Turing, 1953). A single one is no
    such pattern, and keeps its name.
    """
    text = as_categories(series)
    counts = text.drop_nulls().value_counts().rename({series.name: "value"})
    frequent = counts.filter(pl.col("count") >= MIN_CATEGORY_COUNT)
    if len(counts) > MAX_CATEGORIES or len(counts) - len(frequent) > 1:
        counts = frequent
    ranked = counts.sort(["count", "value"], descending=[True, False]).head(MAX_CATEGORIES)
    names = tuple(ranked["value"].to_list())
    return Column(series.name, Kind.CATEGORICAL, required=not text.null_count(), categories=names)
