"""polars frame -> Table: the same cells as `vaewatch.scoring.table`, a column at a time.

A frame comes from CSV (text, or numbers that were parsed on the way), from Parquet (typed) or from
a user. What a cell means depends on the schema alone, never on the other rows of the frame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem, RecordError, SchemaError
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.table import Table

# types whose values need no cast on their way into the table
AS_THEY_ARE = (pl.Int16, pl.Int32, pl.Float64)
INT64 = 2**63


def frame_of(data: Any) -> pl.DataFrame:
    """A polars or pandas DataFrame as a polars one."""
    return data if isinstance(data, pl.DataFrame) else frame_of_pandas(data)


def frame_of_pandas(data: Any) -> pl.DataFrame:
    """A pandas DataFrame without its index, whatever the types of its columns."""
    return pl.DataFrame([_series_of_pandas(str(name), data[name]) for name in data.columns])


def _series_of_pandas(name: str, column: Any) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf" and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    missing = column.isna().to_numpy()
    values = [
        None if gone else value for gone, value in zip(missing, column.tolist(), strict=True)
    ]
    return pl.Series(name, values, strict=False)


def series_of_json(name: str, values: list[Any]) -> pl.Series:
    """A column of JSON values: numbers, booleans or texts. Where these are mixed, it is text.

    A column with a list or an object in it holds lists of one text each, so that nothing can learn
    it and everything can ignore it.
    """
    types = set(map(type, values)) - {NoneType}
    if not types:
        return pl.Series(name, values, pl.Null)
    if types == {bool}:
        return pl.Series(name, values, pl.Boolean)
    if types == {int} and all(-INT64 <= v < INT64 for v in values if v is not None):
        return pl.Series(name, values, pl.Int64)
    if types <= {int, float}:
        return pl.Series(name, [v if v is None else _float(v) for v in values], pl.Float64)
    texts = [v if v is None or isinstance(v, str) else _text(v) for v in values]
    if types <= {int, float, bool, str}:
        return pl.Series(name, texts, pl.String)
    return pl.Series(name, [t if t is None else [t] for t in texts], pl.List(pl.String))


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text(value: Any) -> str:
    """A number as a category spells it, or else JSON."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return repr(value) if isinstance(value, float) else json.dumps(value)


def table_of_frame(schema: Schema, frame: pl.DataFrame) -> tuple[Table, tuple[Problem, ...]]:
    """Type and check every cell. A bad cell is missing in the table and named in the problems."""
    schema.require(frame.columns)
    problems: list[Problem] = []
    numbers = _all_numbers(frame, schema, problems)
    codes = np.empty((len(frame), len(schema.discrete)), dtype=np.int32)
    texts: list[Any] = []
    for j, column in enumerate(schema.discrete):
        parse = _booleans if column.kind is Kind.BOOLEAN else _categories
        codes[:, j], text = parse(frame[column.name], column, schema, problems)
        texts.append(text)
    problems.sort(key=lambda problem: problem.record)
    return Table(schema, numbers, codes, texts), tuple(problems)


def checked_table(schema: Schema, frame: pl.DataFrame) -> Table:
    """The frame as a Table, or a RecordError that names every problem."""
    table, problems = table_of_frame(schema, frame)
    if problems:
        raise RecordError(problems)
    return table


def as_numbers(
    series: pl.Series, null_tokens: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(N,) cells as float64, NaN where missing, and (N,) which cells are not a number."""
    if series.dtype.is_numeric() or series.dtype == pl.Null:
        numbers = series.cast(pl.Float64).to_numpy().astype(np.float64, copy=True)
        return numbers, np.zeros(len(series), dtype=bool)
    if series.dtype == pl.String:
        cast = series.cast(pl.Float64, strict=False)
        if cast.null_count() != series.null_count():
            text = series.str.strip_chars()
            series = text.set(text.is_in(list(null_tokens)).fill_null(False), None)
            cast = series.cast(pl.Float64, strict=False)
    else:
        cast = pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    bad = (cast.is_null() & series.is_not_null()).to_numpy()
    return cast.to_numpy().astype(np.float64, copy=True), bad


def _all_numbers(
    frame: pl.DataFrame, schema: Schema, problems: list[Problem]
) -> NDArray[np.float64]:
    """(N, numeric columns) float64. Columns that are finite numbers already are copied as they
    are; each column is contiguous, as it is in the frame.
    """
    numbers = np.empty((len(frame), len(schema.numeric)), order="F")
    for j, column in enumerate(schema.numeric):
        series = frame[column.name]
        if series.dtype in AS_THEY_ARE:
            numbers[:, j] = series.to_numpy()
            if not np.isinf(numbers[:, j]).any():
                continue
        numbers[:, j] = _numbers(series, column, schema, problems)
    return numbers


def _numbers(
    series: pl.Series, column: Column, schema: Schema, problems: list[Problem]
) -> NDArray[np.float64]:
    numbers, bad = as_numbers(series, schema.null_tokens)
    infinite = np.isinf(numbers)
    if bad.any() or infinite.any():
        kind = "a string" if series.dtype == pl.String else f"{series.dtype}"
        _report(problems, bad, column, "type", f"must be a number, got {kind}")
        _report(problems, infinite, column, "range", "must be a finite number, got infinity")
        numbers[infinite] = np.nan
    return numbers


def as_categories(series: pl.Series) -> pl.Series:
    """(N,) cells as text, spelled as `vaewatch.scoring.table.parse_category` does; null where
    missing.
    """
    if series.dtype.is_float():
        whole = (series == series.round(0)).fill_null(False)
        text = pl.select(
            pl.when(whole)
            .then(series.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(series.cast(pl.String))
        ).to_series()
        return text.set(series.is_nan().fill_null(False), None)
    text = series if series.dtype == pl.String else series.cast(pl.String)
    return text.set((text == "").fill_null(False), None)


def _categories(
    series: pl.Series, column: Column, schema: Schema, problems: list[Problem]
) -> tuple[NDArray[np.int32], pl.Series]:
    text = series if series.dtype == pl.String else as_categories(series)
    known = text.cast(pl.Enum(list(column.categories)), strict=False)
    codes = known.to_physical().to_numpy()  # floats with NaN where there is a null
    if known.null_count():  # few in most files, so look at these alone
        rows = np.flatnonzero(np.isnan(codes))
        missing = text[rows].fill_null("") == ""
        codes = np.nan_to_num(codes)
        codes[rows] = np.where(missing.to_numpy(), missing_code(column), other_code(column))
    return codes.astype(np.int32), text


_TRUE, _FALSE = ["true", "1", "1.0"], ["false", "0", "0.0"]


def as_booleans(
    series: pl.Series, null_tokens: Sequence[str]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """(N,) cells as booleans, null where missing, and (N,) which cells are neither true nor
    false.
    """
    if series.dtype == pl.Boolean:
        return series, np.zeros(len(series), dtype=bool)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    text = series.cast(pl.String).str.strip_chars()
    text = text.set(text.is_in(list(null_tokens)).fill_null(False), None).str.to_lowercase()
    true, false = text.is_in(_TRUE), text.is_in(_FALSE)
    bad = (text.is_not_null() & ~(true | false).fill_null(False)).to_numpy()
    return true.set(pl.Series(bad), None), bad


def _booleans(
    series: pl.Series, column: Column, schema: Schema, problems: list[Problem]
) -> tuple[NDArray[np.int32], pl.Series]:
    values, bad = as_booleans(series, schema.null_tokens)
    _report(problems, bad, column, "type", "must be true, false, 0 or 1, got another value")
    return values.cast(pl.Int32).fill_null(missing_code(column)).to_numpy().copy(), values


def _report(
    problems: list[Problem], rows: NDArray[np.bool_], column: Column, code: str, rule: str
) -> None:
    problems.extend(
        Problem(int(row), column.name, code, f"column '{column.name}' {rule}")
        for row in np.flatnonzero(rows)
    )


def require_columns(frame: pl.DataFrame, names: Sequence[str], what: str) -> None:
    """Refuse a column that the user named and the frame lacks; `what` it was named as."""
    for name in names:
        if name not in frame.columns:
            raise SchemaError(
                f"{what} column '{name}' must be in the input, got "
                f"{', '.join(frame.columns[:20])}."
            )
