"""polars frame -> Table: the same cells as `vaewatch.scoring.table`, a column at a time.

A frame comes from CSV (text, or numbers that were parsed on the way), from Parquet (typed) or from
a user. What a cell means depends on the schema alone, never on the other rows of the frame.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from types import NoneType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem, RecordError, SchemaError
from vaewatch.scoring.files.cells import no_cell, require_cells
from vaewatch.scoring.intake.values import plain
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.series.entity import entities_of_column
from vaewatch.scoring.spelling.booleans import FALSE, TRUE
from vaewatch.scoring.spelling.categories import BLANKS, spell
from vaewatch.scoring.spelling.columns import have_commas, parse_spelled
from vaewatch.scoring.spelling.numbers import COMMA, NumberFormat
from vaewatch.scoring.table import Table, set_missing
from vaewatch.scoring.time.cells import read_calendar

AS_THEY_ARE = (pl.Int16, pl.Int32, pl.Float64)  # types that need no cast into the table
INT64 = 2**63


def frame_of(data: Any) -> pl.DataFrame:
    """Return a polars or pandas DataFrame as a polars one.

    Raises:
        SchemaError: it is neither, or holds a column that no record can have.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    return stored(data) if isinstance(data, pl.DataFrame) else frame_of_pandas(data)


def stored(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with Arrow's extension types, such as JSON, as the values they hold."""
    odd = [series for series in frame.get_columns() if isinstance(series.dtype, pl.BaseExtension)]
    return frame.with_columns(series.ext.storage() for series in odd) if odd else frame


def frame_of_pandas(data: Any) -> pl.DataFrame:
    """Return a pandas DataFrame without its index, whatever the types of its columns."""
    if getattr(data, "ndim", 0) != 2 or not hasattr(data, "columns"):
        raise SchemaError(
            "the input must be a DataFrame or a list of records, got a "
            f"{type(data).__name__}. Put a single record into a list."
        )
    names = [_name(name) for name in data.columns]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise SchemaError(f"column '{twice[0]}' must be in the input once, got it twice.")
    return pl.DataFrame([_series_of_pandas(name, data.iloc[:, i]) for i, name in enumerate(names)])


def _name(name: Any) -> str:
    """Return the name of a column; levels of one with several are joined."""
    return "_".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _series_of_pandas(name: str, column: Any) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf" and isinstance(column.dtype, np.dtype):
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    if kind == "c":
        raise no_cell(name, "complex numbers")
    missing = np.asarray(column.isna())
    values = [
        None if gone else _cell(name, value)
        for gone, value in zip(missing, column.tolist(), strict=True)
    ]
    return pl.Series(name, values, strict=False)


def _cell(name: str, value: Any) -> Any:
    """Return a cell of a type that polars has: its own fallback is one that it cannot use."""
    if isinstance(value, datetime | date | time | timedelta | bytes | list):
        return value
    if isinstance(value, dict | tuple | set | np.ndarray):
        return [str(value)]  # nested: it can be ignored, but not learned
    try:
        return plain(value)
    except TypeError as error:
        raise no_cell(name, f"a {error}") from None


def series_of_json(name: str, values: list[Any]) -> pl.Series:
    """Return a column of JSON values: numbers, booleans or texts. Where these are mixed, it is
    text.

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
    """Return a number as a category spells it, or else JSON."""
    if isinstance(value, float) and math.isfinite(value):
        return spell(value)
    return repr(value) if isinstance(value, float) else json.dumps(value)


def table_of_frame(schema: Schema, frame: pl.DataFrame) -> tuple[Table, tuple[Problem, ...]]:
    """Type and check every cell. A bad cell is missing in the table and named in the problems."""
    require_cells(schema, frame)
    problems: list[Problem] = []
    numbers = _all_numbers(frame, schema, problems)
    codes = np.empty((len(frame), len(schema.discrete)), dtype=np.int32)
    texts: list[Any] = []
    for j, column in enumerate(schema.discrete):
        parse = _booleans if column.kind is Kind.BOOLEAN else _categories
        codes[:, j], text = parse(frame[column.name], column, schema, problems)
        texts.append(text)
    times = read_calendar(schema, frame, numbers, problems) if schema.time else None
    entities = None
    if schema.entity is not None:
        names = as_categories(without_codes(frame[schema.entity]))
        entities = entities_of_column(names, problems)
    problems.sort(key=lambda problem: problem.record)
    return Table(schema, numbers, codes, texts, times, entities), tuple(problems)


def checked_table(schema: Schema, frame: pl.DataFrame) -> Table:
    """Return the frame as a Table, or raise a RecordError that names every problem."""
    table, problems = table_of_frame(schema, frame)
    if problems:
        raise RecordError(problems)
    return table


def without_codes(series: pl.Series) -> pl.Series:
    """Return a column of texts that Parquet or pandas stores once each, as plain texts."""
    return series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series


def as_numbers(
    series: pl.Series, null_tokens: Sequence[str], spelling: NumberFormat | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (N,) cells as float64, NaN where missing, and (N,) which cells are not a number."""
    series = without_codes(series)
    if series.dtype.is_numeric() or series.dtype == pl.Null:
        numbers = series.cast(pl.Float64).to_numpy().astype(np.float64, copy=True)
        return numbers, np.zeros(len(series), dtype=bool)
    if series.dtype == pl.String:
        series, cast = _numbers_of_text(series, null_tokens, spelling)
    else:
        cast = pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    bad = (cast.is_null() & series.is_not_null()).to_numpy()
    return cast.to_numpy().astype(np.float64, copy=True), bad


def _numbers_of_text(
    series: pl.Series, null_tokens: Sequence[str], spelling: NumberFormat | None
) -> tuple[pl.Series, pl.Series]:
    """Return (N,) texts, null where they mean missing, and (N,) numbers; null if none."""
    if spelling is None:
        cast = _parse(series)
        if cast.null_count() == series.null_count():
            return series, cast
    text = series.str.strip_chars(BLANKS)
    text = text.set(text.is_in(list(null_tokens)).fill_null(False), None)
    return text, parse_spelled(text, spelling) if spelling else _parse(text)


def _parse(text: pl.Series) -> pl.Series:
    return text.cast(pl.Float64, strict=False)


def _all_numbers(
    frame: pl.DataFrame, schema: Schema, problems: list[Problem]
) -> NDArray[np.float64]:
    """Return (N, numeric columns) float64. Columns that are finite numbers already are copied as
    they are; each column is contiguous, as it is in the frame.
    """
    numbers = np.empty((len(frame), len(schema.numeric)), order="F")
    for j, column in enumerate(schema.measured):
        series = frame[column.name]
        if series.dtype in AS_THEY_ARE:
            numbers[:, j] = series.to_numpy()
            if not np.isinf(numbers[:, j]).any():
                continue
        numbers[:, j] = _numbers(series, column, schema, problems)
    set_missing(schema, numbers)
    return numbers


def _numbers(
    series: pl.Series, column: Column, schema: Schema, problems: list[Problem]
) -> NDArray[np.float64]:
    numbers, bad = as_numbers(series, nulls_of(schema, column), column.format)
    infinite = np.isinf(numbers)
    if bad.any() or infinite.any():
        kind = f"{series.dtype}"
        kind = "a string" if kind.startswith(("String", "Categorical", "Enum")) else kind
        commas = bad & have_commas(without_codes(series), column.format)
        _report(problems, commas, column, "decimal", COMMA)
        _report(problems, bad & ~commas, column, "type", f"must be a number, got {kind}")
        _report(problems, infinite, column, "range", "must be a finite number, got infinity")
        numbers[infinite] = np.nan
    return numbers


def nulls_of(schema: Schema, column: Column) -> tuple[str, ...]:
    """Return the texts that mean "missing" in a numeric or boolean column."""
    return (*schema.null_tokens, *column.nulls)


def as_categories(series: pl.Series) -> pl.Series:
    """Return (N,) cells as text, numbers spelled as `vaewatch.scoring.table.parse_category` does;
    null where missing.
    """
    if series.dtype.is_decimal():
        series = series.cast(pl.Float64)
    if series.dtype.is_float():
        series = series.fill_nan(None)
        given = series.unique().drop_nulls()
        texts = [spell(number) if math.isfinite(number) else repr(number) for number in given]
        return series.replace_strict(given, pl.Series(texts, dtype=pl.String), default=None)
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
        codes = np.nan_to_num(codes)
        codes[rows] = _codes_of_others(text[rows].fill_null(""), column)
    return codes.astype(np.int32), text


# what a text looks like that may be another spelling of a category
RESPELLED = rf"^[{re.escape(BLANKS)}]|[{re.escape(BLANKS)}]$|^[+-]?[0-9]|^(?i:true|false)$"
RESPELLED += r"|[^\x00-\x7f]"


def _codes_of_others(text: pl.Series, column: Column) -> NDArray[np.int32]:
    """Return (n,) the codes of texts spelled like no category, of which few may be one."""
    codes = np.full(len(text), other_code(column), dtype=np.int32)
    codes[(text == "").to_numpy()] = missing_code(column)
    maybe = text.str.contains(RESPELLED)
    if column.nulls:
        maybe |= text.is_in(list(column.nulls))
    rows = np.flatnonzero(maybe.to_numpy())
    if len(rows):
        found = {name: column.code_of(name) for name in text[rows].unique()}
        codes[rows] = [found[name] for name in text[rows]]
    return codes


def as_booleans(
    series: pl.Series, null_tokens: Sequence[str]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Return (N,) cells as booleans, null where missing, and (N,) which cells are neither true nor
    false.
    """
    if series.dtype == pl.Boolean:
        return series, np.zeros(len(series), dtype=bool)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    text = series.cast(pl.String).str.strip_chars(BLANKS)
    text = text.set(text.is_in(list(null_tokens)).fill_null(False), None).str.to_lowercase()
    true, false = text.is_in(list(TRUE)), text.is_in(list(FALSE))
    bad = (text.is_not_null() & ~(true | false).fill_null(False)).to_numpy()
    return true.set(pl.Series(bad), None), bad


def _booleans(
    series: pl.Series, column: Column, schema: Schema, problems: list[Problem]
) -> tuple[NDArray[np.int32], pl.Series]:
    values, bad = as_booleans(series, nulls_of(schema, column))
    _report(problems, bad, column, "type", "must be true, false, 0 or 1, got another value")
    return values.cast(pl.Int32).fill_null(missing_code(column)).to_numpy().copy(), values


def _report(
    problems: list[Problem], rows: NDArray[np.bool_], column: Column, code: str, rule: str
) -> None:
    problems.extend(
        Problem(int(row), column.name, code, f"column '{column.name}' {rule}")
        for row in np.flatnonzero(rows)
    )
