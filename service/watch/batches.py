"""batches that were answered -> one batch, of the records that were judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.scoring.verdicts import joined as verdicts_joined
from vaewatch.service.model.model import Model
from vaewatch.service.watch.place import Place
from vaewatch.service.watch.trail import Trail

Places = list[Place | None]  # of the last alarms of a batch


class Batch(NamedTuple):
    """Records that were answered. ids: of some that are anomalies, by row."""

    model: Model
    table: Table
    verdicts: Verdicts
    places: Places
    trail: Trail | None
    ids: Mapping[int, str]


def joined(batches: list[Batch]) -> Batch:
    """Join batches of one model into one; counting does not need the raw texts."""
    model, tables = batches[0].model, [batch.table for batch in batches]
    verdicts = verdicts_joined([batch.verdicts for batch in batches])
    ids, start = dict[int, str](), 0
    for batch in batches:
        ids |= {start + row: id for row, id in batch.ids.items()}
        start += len(batch.table)
    places = [place for batch in batches for place in batch.places]
    trails = [batch.trail for batch in batches if batch.trail is not None]
    trail = Trail.joined(trails) if trails else None
    return Batch(model, _whole(tables), verdicts, places, trail, ids)


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
