"""a frame -> its columns that are no data: a table's index, and what a last delimiter adds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.header import UNNAMED

STORED = re.compile(r"__index_level_[0-9]+__")  # pandas' name for an index without one
# names that R, pandas and Spark give to the numbers of rows, or to those of another trip
COUNTED = ("X", "rownames", "row.names", "rowname", "...1", "index", "level_0", "_c0", "Column1")
NAMELESS = re.compile(rf"{UNNAMED}([0-9]+)(?:\.[0-9]+)?")


def index_among(
    frame: pl.DataFrame, known: Iterable[str], keep: Collection[str], *, csv: bool
) -> tuple[str, ...]:
    """Return the columns that are no data. `known` are those of which the file itself says so;
    none of those to `keep` is among them.

    Raises:
        SchemaError: a column of CSV has no name, and does not count or name rows.
    """
    apart = {name for name in frame.columns if name in set(known) or STORED.fullmatch(name)}
    for name in frame.columns:  # those at the start
        if name not in apart and not (name in COUNTED and _counts(frame[name])):
            break
        apart.add(name)
    for name in frame.columns:
        nameless = NAMELESS.fullmatch(name)
        if nameless is None or name in keep:
            continue
        if _is_index(frame[name], first=nameless[1] == "0"):
            apart.add(name)
        elif csv:
            raise SchemaError(
                f"column {int(nameless[1]) + 1} must have a name in the header, got none. It does "
                "not count rows, so it may be data: name it there, or leave it out with --ignore "
                f"'{name}'."
            )
    return tuple(name for name in frame.columns if name in apart and name not in keep)


def _is_index(series: pl.Series, *, first: bool) -> bool:
    """Return whether a column without a name is empty, counts rows or, as R has it, names them."""
    given = series.drop_nulls()
    if series.dtype == pl.String:
        given = given.filter(given.str.strip_chars() != "")
    if not len(given):
        return True
    whole = given.cast(pl.String).str.contains(r"^[0-9]+(\.0)?$").all()
    return first and (whole or len(given) == len(series) == given.n_unique())


def _counts(series: pl.Series) -> bool:
    """Return whether a column is 0, 1, 2 ... or 1, 2, 3 ... in all rows."""
    numbers = series.cast(pl.Float64, strict=False)
    if len(numbers) < 2 or numbers.null_count() or numbers[0] not in (0.0, 1.0):
        return False
    return bool((numbers.diff().drop_nulls() == 1.0).all())


def without_last_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame without rows at its end that have no value at all, as spreadsheets export
    them.
    """
    if not len(frame) or frame.width < 2 or any(value is not None for value in frame.row(-1)):
        return frame
    given = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return frame.head(int(given.arg_true()[-1]) + 1) if given.any() else frame
