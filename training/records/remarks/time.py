"""A table with a time -> what its records may mislead in, as they follow one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.series.entity import in_order, numbered
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.spans import span_text
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.remarks.remark import Remark, named_columns

LEAST, LOOKED_AT = 50, 20_000  # records that tell of a trend, and of which no more are looked at
TREND = 0.9  # rank correlation: of 31 real tables with such a column 28 broke the budget later
FEW_MOMENTS, BATCH = 60, 10  # moments in all, and records of each at least: batches
ALIKE = 0.7  # rank correlation of neighbours: of orders, stays and flights it is below 0.1


def of_time(table: Table, config: TrainConfig) -> Iterator[Remark]:
    """Say what the time of records may mislead in."""
    yield from _of_trends(table)
    yield from _of_moments(table)
    if config.window is None and not config.windowed:
        yield from _of_neighbours(table)


def _of_moments(table: Table) -> Iterator[Remark]:
    """Say that records come in batches, of which there are few, if a calendar is learned of them.

    What holds for a batch holds for all of it: with 24 of them, nothing is known of a pay day on a
    Monday.
    """
    if table.times is None or not table.schema.circular:
        return
    times = table.times[table.times != NO_TIME]
    moments = len(np.unique(times))
    if moments <= FEW_MOMENTS and len(times) >= BATCH * moments:
        yield Remark(
            "moments",
            f"the {len(times):,} records are of {moments} moments: what comes at one comes "
            f"together, so that hours and weekdays are learned from {moments} examples, and a "
            "batch at another time may alarm as a whole. --calendar none leaves them out.",
        )


def _of_trends(table: Table) -> Iterator[Remark]:
    """Name the numbers that go up or down with the time. What comes later may lie beyond them, and
    the blocks of time that a fit holds out do not always tell.
    """
    if found := with_the_time(table):
        yield Remark(
            "trend",
            f"{named_columns(found)} {'go' if len(found) > 1 else 'goes'} up or down with the "
            "time: later values may lie beyond all of the fit, and alarm. Leave such a column out "
            f"with --ignore '{found[0]}', or give its change from one record to the next.",
        )


def with_the_time(table: Table) -> list[str]:
    """Return the columns of numbers that go up or down with the time, of each entity by itself."""
    if table.times is None:
        return []
    order = in_order(table.entities, table.times)
    order = order[table.times[order] != NO_TIME][:: max(1, len(order) // LOOKED_AT)]
    names = table.entities
    owners = np.zeros(len(order)) if names is None else numbered([names[i] for i in order])
    times = pl.DataFrame({"owner": owners, "time": table.times[order]})
    return [
        column.name
        for column, numbers in zip(table.schema.measured, table.numbers.T, strict=False)
        if abs(_rank_correlation(times, numbers[order])) >= TREND
    ]


def _rank_correlation(times: pl.DataFrame, numbers: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of (N,) numbers, NaN where missing, with their times,
    within the owners of both; 0 of a constant, and of too few to tell.
    """
    given = times.with_columns(number=pl.Series(numbers).fill_nan(None)).drop_nulls()
    if len(given) < LEAST:
        return 0.0
    ranks = pl.col("time", "number").rank().over("owner")
    centred = given.with_columns(ranks).select(
        pl.col("time", "number") - pl.col("time", "number").mean().over("owner")
    )
    return float(centred.select(pl.corr("time", "number").fill_nan(0.0)).item() or 0.0)


def _of_neighbours(table: Table) -> Iterator[Remark]:
    """Say that records that come one after the other are much alike, but judged one by one: if
    half of the numbers are, leaving out those that go with the time.
    """
    found = _correlations_of_neighbours(table)
    alike = [name for name, correlation in found.items() if correlation >= ALIKE]
    if not alike or 2 * len(alike) < len(found):
        return
    assert table.times is not None
    moments = np.unique(table.times[table.times != NO_TIME])
    step = span_text(int(np.median(np.diff(moments))))
    yield Remark(
        "alike",
        f"records come about every {step}, and {named_columns(alike)} "
        f"{'is' if len(alike) == 1 else 'are'} alike from one to the next. Each record is judged "
        "by itself, and the interval of the false-alarm rate and the blocks of time take records "
        "as independent, so that they promise more than such records can. --window auto judges "
        "the course of records, with --entity if they are of several; --window 1 says that single "
        "ones are meant.",
    )


def _correlations_of_neighbours(table: Table) -> dict[str, float]:
    """Return how alike the means of neighbouring moments are in each column of numbers that does
    not go with the time: by rank, 0 of a constant.
    """
    if table.times is None:
        return {}
    apart = set(with_the_time(table))
    numbers = zip(table.schema.measured, table.numbers.T, strict=False)
    own = {f"x{i}": x for i, (column, x) in enumerate(numbers) if column.name not in apart}
    frame = pl.DataFrame({"time": table.times, **own}).filter(pl.col("time") != NO_TIME)
    means = frame.with_columns(pl.exclude("time").fill_nan(None)).group_by("time").mean()
    means = means.sort("time").head(LOOKED_AT)
    return {
        table.schema.measured[int(name[1:])].name: correlation_with_next(means[name])
        for name in means.columns[1:]
    }


def correlation_with_next(values: pl.Series) -> float:
    """Return Spearman's rank correlation of values with those after them; 0 of too few."""
    pairs = pl.DataFrame({"before": values.shift(1), "value": values}).drop_nulls()
    if len(pairs) < LEAST:
        return 0.0
    ranks = pairs.select(pl.all().rank())
    return float(ranks.select(pl.corr("before", "value").fill_nan(0.0)).item() or 0.0)
