"""Schema, frame -> what a user should know of how their columns are read, before the fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import polars as pl

from vaewatch.scoring.files.frames import as_categories
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.training.records.kinds import clip, given_texts

RARE_SHARE, FEW = 0.9, 10  # of more values than these few


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
    given = as_categories(series).drop_nulls()
    counts = given.value_counts(name="count")
    usual = pl.col(series.name).is_in(list(column.categories)) & (pl.col("count") > 1)
    rare = len(given) - int(counts.filter(usual)["count"].sum())
    if len(given) <= FEW or rare < RARE_SHARE * len(given):
        return
    name = series.name
    yield (
        f"column '{name}' is learned as text, but {rare / len(given):.0%} of its values, such as "
        f"'{clip(given[0])}', are rare or unique. They all count as one, so nothing unusual is "
        f"found there. If they name records: --id '{name}'. If they say nothing of a record: "
        f"--ignore '{name}'. If they are numbers: --kind '{name}=numeric' says what is wrong."
    )
