"""batches that were answered -> one batch, of the records that were judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.model import Model
from vaewatch.service.watch.place import Place

Places = list[Place | None]  # of the last alarms of a batch
Spaced = NDArray[np.bool_] | None  # which records are far from each other; None: all are


class Batch(NamedTuple):
    """Records that were answered. ids: of some that are anomalies, by row."""

    model: Model
    table: Table
    verdicts: Verdicts
    places: Places
    spaced: Spaced
    ids: Mapping[int, str]


def joined(batches: list[Batch]) -> Batch:
    """Join batches of one model into one; counting does not need the raw texts."""
    model, tables = batches[0].model, [batch.table for batch in batches]
    each = [batch.verdicts for batch in batches]
    verdicts = Verdicts(
        np.concatenate([v.score for v in each]),
        np.concatenate([v.p_value for v in each]),
        np.concatenate([v.severity for v in each]),
        np.concatenate([v.is_anomaly for v in each]),
        [reasons for v in each for reasons in v.reasons],
    )
    ids, start = dict[int, str](), 0
    for batch in batches:
        ids |= {start + row: id for row, id in batch.ids.items()}
        start += len(batch.table)
    places = [place for batch in batches for place in batch.places]
    spaced = [batch.spaced for batch in batches if batch.spaced is not None]
    far = np.concatenate(spaced) if spaced else None
    return Batch(model, _whole(tables), verdicts, places, far, ids)


def _whole(tables: list[Table]) -> Table:
    times = [table.times for table in tables if table.times is not None]
    entities = [table.entities for table in tables if table.entities is not None]
    return Table(
        tables[0].schema,
        np.concatenate([table.numbers for table in tables]),
        np.concatenate([table.codes for table in tables]),
        (),
        np.concatenate(times) if times else None,
        [name for some in entities for name in some] if entities else None,
    )


def judged_rows(
    table: Table, verdicts: Verdicts, rows: NDArray[np.int64]
) -> tuple[Table, Verdicts]:
    """Return the records that were judged, in these rows."""
    return (table, verdicts) if len(rows) == len(table) else (table.take(rows), verdicts[rows])


def spaced_of(model: Model, table: Table) -> NDArray[np.bool_]:
    """Return which records of a table are so far apart that their scores do not depend on each
    other, (N,): neighbouring windows share records, and a test of evidence takes none that do.
    Of each entity at most one in `spacing` steps of time is taken, whatever batch it comes in.
    """
    window, times = model.window, table.times
    if window is None or times is None:
        return np.ones(len(table), bool)
    own = [0] * len(table) if table.entities is None else list(map(hash, table.entities))
    turns = np.array([each % model.spacing for each in own], np.int64)
    return np.asarray(times // window.step % model.spacing == turns)
