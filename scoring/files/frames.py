"""polars frame -> Table: the same cells as `vaewatch.scoring.table`, a column at a time.

Frames come from CSV (every column text), Parquet (typed) or a pandas DataFrame. What a cell means
depends on the schema alone, never on the other rows of the frame.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem, RecordError, SchemaError
from vaewatch.scoring.files.chunks import Header
from vaewatch.scoring.files.rows import Block
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.table import Table


def frame_of_block(
    block: Block, header: Header, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """The fields of a block as text; an empty field is null. `columns` picks some."""
    return _read_fields(block, header, header.names if columns is None else columns, {})


# what small integers are parsed as, and below which value: there is room for more than was seen
INTEGERS = {pl.Int16: 2**12, pl.Int32: 2**30}
AS_THEY_ARE = {*INTEGERS, pl.Float64}


def typed_frame_of_block(block: Block, header: Header, schema: Schema) -> pl.DataFrame:
    """The schema's columns; numbers are parsed at once, which takes half the time, and small
    integers as such, which takes a fifth less. Where a cell is no number, its column is left as
    text, and so is each one with an empty cell.
    """
    numbers: dict[str, Any] = {column.name: pl.Float64 for column in schema.numeric}
    narrow = {column.name: _narrowest(column) for column in schema.numeric}
    for types in (narrow, numbers):
        try:
            return _read_fields(block, header, schema.names, types)
        except pl.exceptions.ComputeError:
            continue  # which is soon known of a file that has no such numbers at all
    frame = _read_fields(block, header, schema.names, numbers, strict=False)
    odd = [name for name in numbers if frame[name].null_count()]
    return frame.with_columns(frame_of_block(block, header, odd))


def _narrowest(column: Column) -> Any:
    """The type that holds the column's values in the fit data with the fewest bytes."""
    if not column.integer or column.low is None or column.high is None:
        return pl.Float64
    largest = max(abs(column.low), abs(column.high))
    return next((kind for kind, limit in INTEGERS.items() if largest < limit), pl.Float64)


def _read_fields(
    block: Block,
    header: Header,
    columns: Collection[str],
    numeric: Mapping[str, Any],
    *,
    strict: bool = True,
) -> pl.DataFrame:
    """If not `strict`, a cell that is no number is null."""
    wanted = [name for name in header.names if name in columns]
    types = {name: numeric.get(name, pl.String) for name in header.names}
    if not len(block):
        return pl.DataFrame(schema={name: types[name] for name in wanted})
    some = len(wanted) < len(header.names)  # of all it need not be told
    frame = pl.read_csv(
        io.BytesIO(block.rows),
        has_header=False,
        columns=[header.names.index(name) for name in wanted] if some else None,
        schema=types,
        separator=header.delimiter,
        ignore_errors=not strict,
    )
    if len(frame) != len(block):
        raise AssertionError(f"polars found {len(frame)} rows where there are {len(block)}")
    return frame


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


def table_of_frame(schema: Schema, frame: pl.DataFrame) -> tuple[Table, tuple[Problem, ...]]:
    """Type and check every cell; a bad cell is missing in the table and named in the problems."""
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
    """Cells as float64 with NaN where missing, and which cells are no number."""
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
    """(N, numeric columns); as they are where the frame has them as finite numbers already. A
    column lies in one piece, as it does in the frame.
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
    """Cells as text, the way `records.parse_category` spells them; null where missing."""
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
    if known.null_count():  # few in most files: the others need not be looked at again
        rows = np.flatnonzero(np.isnan(codes))
        missing = text[rows].fill_null("") == ""
        codes = np.nan_to_num(codes)
        codes[rows] = np.where(missing.to_numpy(), missing_code(column), other_code(column))
    return codes.astype(np.int32), text


_TRUE, _FALSE = ["true", "1", "1.0"], ["false", "0", "0.0"]


def as_booleans(
    series: pl.Series, null_tokens: Sequence[str]
) -> tuple[pl.Series, NDArray[np.bool_]]:
    """Cells as booleans, null where missing, and which cells are neither."""
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
    """Refuse a name that the user gave and the file lacks."""
    for name in names:
        if name not in frame.columns:
            raise SchemaError(
                f"{what} column '{name}' must be in the input, got "
                f"{', '.join(frame.columns[:20])}."
            )
