"""Schema, frame -> what a user should know of how their columns are read, before the fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

import polars as pl

from vaewatch.scoring.files.frames import as_categories
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.spelling.categories import BLANKS
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.training.records.kinds import DIGITS, clip, given_texts

RARE_SHARE, FEW = 0.9, 10  # of more values than these few
SEVERAL = 20  # different values: fewer are grades, sizes or ranges


def remarks(schema: Schema, frame: pl.DataFrame, declared: Collection[str]) -> Iterator[str]:
    """Name the numbers that are not spelled plainly, and the texts of which nothing is learned,
    in columns whose kind was not declared.
    """
    for column in schema.columns:
        series = frame[column.name]
        if column.format is not None:
            yield _of_format(series, column.format)
        elif column.kind is Kind.CATEGORICAL and column.name not in declared:
            yield from _of_rare(series, column)


def _of_format(series: pl.Series, spelling: NumberFormat) -> str:
    texts = given_texts(series.cast(pl.String))
    cell = texts.gather([int(texts.str.len_chars().arg_max() or 0)])[0]
    return (
        f"column '{series.name}' is read as numbers with {spelling}: '{cell}' is "
        f"{spelling.parse(cell):.15g}. If they are none: --kind '{series.name}=categorical'."
    )


def _of_rare(series: pl.Series, column: Column) -> Iterator[str]:
    given, name = as_categories(series).drop_nulls(), series.name
    counts = given.value_counts(name="count")
    codes = Counter[int]()
    for text, count in counts.iter_rows():
        codes[column.code_of(text)] += count
    given_codes = range(len(column.categories))
    rare = len(given) - sum(codes[code] for code in given_codes if codes[code] > 1)
    if len(given) <= FEW or rare < RARE_SHARE * len(given):
        if len(counts) > SEVERAL and (unit := _unit(given)):
            yield (
                f"column '{name}' is learned as text, but its {len(counts):,} values, such as "
                f"'{clip(given[0])}', look like numbers with '{unit}' in them. Take that away to "
                f"learn numbers; if it is text: --kind '{name}=categorical'."
            )
        return
    yield (
        f"column '{name}' is learned as text, but {rare / len(given):.0%} of its values, such as "
        f"'{clip(given[0])}', are rare or unique. They all count as one, so nothing unusual is "
        f"found there. If they name records: --id '{name}'. If they say nothing of a record: "
        f"--ignore '{name}'. If they are numbers: --kind '{name}=numeric' says what is wrong."
    )


def _unit(given: pl.Series) -> str:
    """Return what stands in every text beside a number that begins it; empty if nothing does."""
    units = given.str.strip_chars(BLANKS).str.replace_all(DIGITS, "").unique()
    alike = len(units) == 1 and given.str.contains(r"^\s*[+-]?[0-9]").all()
    return str(units[0]) if alike else ""
