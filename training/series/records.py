"""fit records -> Windows: in order of time, parted at gaps, with what was left out counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from msgspec import structs
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.series.entity import numbered
from vaewatch.scoring.series.history import STANDINGS, History, Run, Standing
from vaewatch.scoring.series.judge import arrivals_of
from vaewatch.scoring.series.reasons import LIMIT
from vaewatch.scoring.series.window import ONE, Pace, Still, Window, run_lengths
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.spans import microseconds, span_text
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.series.checks import check_series
from vaewatch.training.series.sizes import size_of
from vaewatch.training.series.windows import Windows

USUAL_STEP, LONG_STEP = 0.5, 0.99  # quantiles of the steps
GAP = 10.0  # times a long step
LEAST_RECORDS = 500  # that show how long values stand still
UNEVEN = 0.1  # deviation of log1p of the step from which it is learned


@dataclass(frozen=True)
class Series:
    """The fit records as windows.

    Attributes:
        runs: as they came, before what is far out was cut.
        order: (N,) the records in order of time.
        entities, short, gaps, repeated, late, period: see
            `vaewatch.scoring.series.window.SeriesSummary`.
    """

    window: Window
    windows: Windows
    runs: tuple[Run, ...]
    order: NDArray[np.int64]
    entities: int
    short: int
    gaps: int
    repeated: int
    late: int
    period: int | None


def series_of(table: Table, vectorizer: Vectorizer, config: TrainConfig) -> Series:
    """Put a table's N records in order, and part them into windows.

    Raises:
        SchemaError: no entity has a full window.
    """
    if table.times is None:
        raise AssertionError("the settings of a window take a time")
    order = np.argsort(table.times, kind="stable")
    arrivals = arrivals_of(vectorizer, table.take(order))
    entities, moments = arrivals.entities, arrivals.moments
    steps = _steps(entities, moments)
    window, period = _window(steps, config), None
    if config.window in (None, "auto"):
        size, period = size_of(arrivals, window)
        window = replace_size(window, size)
    elif isinstance(config.window, int):
        window = replace_size(window, config.window)
    taken = History(window).add(arrivals)
    names = {""} if entities is None else set(entities)
    if not taken.runs:
        raise SchemaError(
            f"a window of {window.size:,} records must fit into the records of an entity without "
            f"a pause of more than {span_text(window.gap)}, but the longest stretch has "
            f"{_longest(entities, moments, window.gap):,}. Use a smaller --window, or a longer "
            "--gap."
        )
    whose = ["" if entities is None else entities[run.rows[0]] for run in taken.runs]
    paced = window.pace is not None
    columns = np.append(vectorizer.column_of, [len(vectorizer.schema.names)] * paced)
    clipped = [replace(run, values=np.clip(run.values, -LIMIT, LIMIT)) for run in taken.runs]
    return Series(
        window=structs.replace(window, still=still_of(taken.runs, window, vectorizer)),
        windows=Windows(window.size, clipped, moments, numbered(whose), paced, columns),
        runs=taken.runs,
        order=order,
        entities=len(names),
        short=len(names - set(whose)),
        gaps=taken.gaps,
        repeated=int((taken.standings == STANDINGS.index(Standing.REPEATED)).sum()),
        late=_late(table),
        period=period,
    )


def still_of(runs: Sequence[Run], window: Window, vectorizer: Vectorizer) -> tuple[Still, ...]:
    """Return the numeric columns whose values never stand still for half a window in the runs, if
    there are enough records to tell.
    """
    if sum(len(run.values) for run in runs) < LEAST_RECORDS:
        return ()
    found = []
    for column, own in enumerate(vectorizer.by_column.values()):
        if own.value is None:
            continue
        longest = max(int(run_lengths(run.values[:, [own.value]]).max()) for run in runs)
        if 2 * longest + 1 <= window.size:
            found.append(Still(column, own.value, 2 * longest + 1))
    return tuple(found)


def _late(table: Table) -> int:
    """Return how many records stand after a newer one of their entity."""
    if table.times is None:
        return 0
    rows, moments = np.arange(len(table)), table.times
    names = np.zeros(len(table), np.int64)
    if table.entities is not None:
        names = numbered(table.entities)
    rows = np.argsort(names, kind="stable")
    names, moments = names[rows], moments[rows]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(names)) + 1])
    parts = np.split(moments, starts[1:])
    return sum(int((own < np.maximum.accumulate(own)).sum()) for own in parts if len(own))


def described(frame: pl.DataFrame, config: TrainConfig) -> str:
    """Say how many entities there are, how long, and how their records follow one another.

    Raises:
        SchemaError: the records make no series.
    """
    schema = infer_schema(frame, config)
    check_series(frame, schema)
    table = checked_table(schema, frame)
    assert table.times is not None  # the settings of a window take a time
    window = _window(_steps(table.entities, table.times), config)
    counts = Counter(table.entities or [ONE] * len(table)).values()
    many = f"{len(counts):,} entities" if len(counts) > 1 else "1 entity"
    each = f"{min(counts):,} to {max(counts):,} records"
    if min(counts) == max(counts):
        each = f"{max(counts):,} records{' each' if len(counts) > 1 else ''}"
    names = table.entities or [ONE] * len(table)
    repeated = len(table) - len({*zip(names, table.times.tolist(), strict=True)})
    again = f"; {repeated:,} have a time that came before, and are left out" if repeated else ""
    return (
        f"{many} with {each}, one every {span_text(window.step)} usually; after a pause of more "
        f"than {span_text(window.gap)} a window begins anew{again}"
    )


def replace_size(window: Window, size: int) -> Window:
    """Return the window with another number of records."""
    return structs.replace(window, size=size)


def _longest(entities: Sequence[str] | None, moments: NDArray[np.int64], gap: int) -> int:
    """Return the records of the longest stretch of an entity without a pause."""
    names = np.zeros(len(moments), np.int64) if entities is None else numbered(entities)
    order = np.lexsort([moments, names])
    steps, others = np.diff(moments[order]), np.diff(names[order]) != 0
    stretches = np.concatenate([[0], np.cumsum(others | (steps > gap))])
    taken = np.concatenate([[True], others | (steps > 0)])  # of a repeated time, the first
    return int(np.bincount(stretches[taken]).max())


def _steps(entities: Sequence[str] | None, moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the times between consecutive records of an entity, without repeated ones."""
    if entities is None:
        steps = np.diff(moments)
    else:
        names = numbered(entities)
        order = np.lexsort([moments, names])
        steps = np.diff(moments[order])[np.diff(names[order]) == 0]
    return np.asarray(steps[steps > 0])


def _window(steps: NDArray[np.int64], config: TrainConfig) -> Window:
    """Return the window's step, gap and pace; its size is not known yet.

    Raises:
        SchemaError: no entity has two records of different times.
    """
    if not len(steps):
        raise SchemaError(
            f"a window takes records that follow one another, but column '{config.time}' has no "
            "two different times of one entity."
        )
    step = max(1, int(np.quantile(steps, USUAL_STEP)))
    given = None if config.gap is None else microseconds(config.gap)
    gap = given or round(GAP * float(np.quantile(steps, LONG_STEP)))
    inside = np.log1p(steps[steps <= gap] / step)
    pace = None
    if len(inside) and inside.std() > UNEVEN:
        pace = Pace(float(inside.mean()), float(inside.std()))
    return Window(2, gap, step, pace)
