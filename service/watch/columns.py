"""tables, verdicts -> numbers of what happened in each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Kind, Schema, missing_code, other_code
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts

Counts = NDArray[np.int64]


def first_reasons(names: Sequence[str], verdicts: Verdicts, alarms: NDArray[np.bool_]) -> Counts:
    """(columns,) alarms of which each column is the first reason. `alarms`: (N,) which they
    are. Those that are none at the smaller alpha of a request come without reasons.
    """
    rows = np.flatnonzero(alarms).tolist()
    top = Counter(verdicts.reasons[i][0].column for i in rows if verdicts.reasons[i])
    return np.array([top[name] for name in names], dtype=np.int64)


class ColumnEvents:
    """Counts the missing, unseen and out-of-range values of a schema's columns."""

    def __init__(self, schema: Schema) -> None:
        at = {name: i for i, name in enumerate(schema.names)}
        self._columns = len(at)
        self._numeric = np.array([at[c.name] for c in schema.numeric], np.int64)
        self._discrete = np.array([at[c.name] for c in schema.discrete], np.int64)
        self._low = np.array([-np.inf if c.low is None else c.low for c in schema.numeric])
        self._high = np.array([np.inf if c.high is None else c.high for c in schema.numeric])
        self._gone = np.array([missing_code(c) for c in schema.discrete], np.int32)
        other = [other_code(c) if c.kind is Kind.CATEGORICAL else -1 for c in schema.discrete]
        self._unseen = np.array(other, np.int32)

    def __call__(self, table: Table) -> tuple[Counts, Counts, Counts]:
        """Return (columns,) numbers of missing values, unseen categories, and numbers outside the
        fit data's range.
        """
        missing, unseen, outside = np.zeros((3, self._columns), dtype=np.int64)
        numbers, codes = table.numbers, table.codes
        missing[self._numeric] = np.isnan(numbers).sum(axis=0)
        outside[self._numeric] = ((numbers < self._low) | (numbers > self._high)).sum(axis=0)
        missing[self._discrete] = (codes == self._gone).sum(axis=0)
        unseen[self._discrete] = (codes == self._unseen).sum(axis=0)
        return missing, unseen, outside
