"""a polars column of texts -> the same numbers as `NumberFormat.parse` reads one by one."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.spelling.numbers import AROUND, NEGATIVE, NumberFormat, tidy, with_comma


def parse_spelled(text: pl.Series, spelling: NumberFormat) -> pl.Series:
    """(N,) the same numbers as `NumberFormat.parse` reads, null if a text is none."""
    numbers = _parse_spelled(text, spelling)
    odd = numbers.is_null() & text.is_not_null()
    if not odd.any():
        return numbers
    tidied = {raw: tidy(raw) for raw in text.filter(odd).unique()}
    tidied = {raw: better for raw, better in tidied.items() if raw != better}
    if not tidied:
        return numbers
    again = text.set(~odd, None).replace_strict(tidied, default=None, return_dtype=pl.String)
    return numbers.zip_with(~odd, _parse_spelled(again, spelling))


def have_commas(text: pl.Series, spelling: NumberFormat | None) -> NDArray[np.bool_]:
    """(N,) which texts would be numbers if the format had a decimal comma."""
    other = with_comma(spelling)
    if other is None or text.dtype != pl.String:
        return np.zeros(len(text), dtype=bool)
    return parse_spelled(text, other).is_not_null().to_numpy()


def _parse_spelled(text: pl.Series, spelling: NumberFormat) -> pl.Series:
    cell = pl.col("cell")
    bare = cell.str.replace_all(spelling.unit, "", literal=True).str.strip_chars(AROUND)
    digits = bare.str.replace_all(f"[{spelling.marks}]", "")
    digits = digits.str.replace(spelling.decimal, ".", literal=True)
    number = pl.when(bare.str.contains(spelling.body)).then(digits).otherwise(bare)
    number = number.cast(pl.Float64, strict=False)
    signed = pl.when(cell.str.contains(NEGATIVE)).then(-number).otherwise(number)
    signed = pl.when(cell.str.contains(spelling.pattern)).then(signed)
    return pl.DataFrame({"cell": text}).select(signed).to_series().rename(text.name)
