"""records, verdicts -> Golden: a few records that every reader of an artifact scores again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Golden
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.values import spelled

GOLDEN_RECORDS = 5
Floats = NDArray[np.float64]


def make_golden(few: Table, scores: Floats, p_values: Floats) -> Golden:
    """Return a few records as JSON would carry them, with the (N,) scores and p-values that they
    must get.
    """
    records = [_record(few, row) for row in range(len(few))]
    return Golden(records, scores, p_values)


def _record(few: Table, row: int) -> dict[str, Any]:
    schema = few.schema
    plain = [column for column in schema.columns if column.kind is not Kind.CIRCULAR]
    record: dict[str, Any] = {c.name: few.observed(row, c) for c in plain}
    if schema.time is not None and few.times is not None:
        record[schema.time.column] = spelled(schema.time, int(few.times[row]))
    if schema.entity is not None:
        record[schema.entity] = "golden"  # all are of one; which one is nobody's business
    return record
