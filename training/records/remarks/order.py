"""A table -> what the order of its records may mislead in.

Records of a file without a time are taken as exchangeable: some of them, drawn at random,
calibrate for the others. Where those that follow one another are of one patient, machine or day,
each of these has records on both sides, and what is promised holds for further records of the same
ones. Others bring what the fit never saw.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.remarks.remark import Remark, named_columns
from vaewatch.training.records.remarks.time import ALIKE, LOOKED_AT, correlation_with_next, of_time

LEAST = 500  # records of which the order is looked at
SORTED = 0.8  # rank correlation of a column with its place in the file
STAYS = 0.9  # of a column's categories are that of the record before: the file is sorted by it
SAME = 0.5  # of the records are the same as the one before: a table of counts, written out


def of_order(table: Table, config: TrainConfig) -> Iterator[Remark]:
    """Say what the times of records may mislead in, or without any their places in the file."""
    if table.times is not None:
        yield from of_time(table, config)
    elif len(table) >= LEAST and not config.by_entity:
        yield from _of_groups(table)


def _of_groups(table: Table) -> Iterator[Remark]:
    """Say that records that follow one another are alike, as of one of several groups that no
    column names: if half of the numbers are, leaving out those by which the file is sorted.
    """
    some = table.take(np.arange(min(len(table), LOOKED_AT)))
    alike = _alike_in_groups(some)
    if not alike or _repeats(some) >= SAME:
        return
    yield Remark(
        "groups",
        f"records that follow one another are alike in {named_columns(alike)}, as those of one "
        "patient, machine or day are. Those that calibrate are drawn from among them, so that "
        "alpha is promised for further records of the same ones; of others more may alarm. Name "
        "their column with --entity COLUMN --calibrate entities, and whole ones calibrate; or a "
        "column of times with --time.",
    )


def _alike_in_groups(table: Table) -> list[str]:
    """Return the columns of numbers in which neighbours are alike, by rank, beside what their
    categories say by which the file is sorted; none if they are in fewer than half of those that
    do not go up or down with the file.
    """
    discrete = pl.DataFrame(table.codes)
    stays = [
        c for c, own in zip(discrete.columns, table.codes.T, strict=True) if _stay(own) >= STAYS
    ]
    columns, alike, others = table.schema.measured, [], 0
    for column, numbers in zip(columns, table.numbers.T, strict=False):
        values = discrete.with_columns(own=pl.Series(numbers).fill_nan(None)).drop_nulls()
        values = values.with_columns(pl.col("own").rank(), row=pl.int_range(pl.len()))
        if abs(values.select(pl.corr("own", "row").fill_nan(0.0)).item() or 0.0) >= SORTED:
            continue
        usual = pl.col("own").mean()
        centred = pl.col("own") - (usual.over(stays) if stays else usual)
        if correlation_with_next(values.select(centred)["own"]) >= ALIKE:
            alike.append(column.name)
        else:
            others += 1
        if 2 * others > len(columns):  # whatever the others are
            return []
    return alike if len(alike) >= others else []


def _stay(codes: NDArray[np.int32]) -> float:
    """Return the share of (N,) codes that are the one before."""
    return float(np.mean(codes[1:] == codes[:-1]))


def _repeats(table: Table) -> float:
    """Return the share of records that are the same as the one before."""
    numbers = np.nan_to_num(table.numbers, nan=np.inf)
    same = (numbers[1:] == numbers[:-1]).all(1) & (table.codes[1:] == table.codes[:-1]).all(1)
    return float(same.mean())
