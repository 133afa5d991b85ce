"""the codes of a column of texts -> the share of its values that are rare or unique."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Column, Kind, missing_code, other_code

MOSTLY_RARE = 0.9  # of the values given: so little is learned of the column
FEW = 10  # values: so many may all differ


def mostly_rare(column: Column, codes: NDArray[np.integer[Any]]) -> float:
    """Return the share of the values given that share a bucket or came once, from (N,) codes; 0
    if they are few, or not mostly rare.
    """
    counts = np.bincount(codes, minlength=missing_code(column) + 1)
    other, given = other_code(column), int(counts[: missing_code(column)].sum())
    if column.kind is not Kind.CATEGORICAL or given <= FEW:
        return 0.0
    share = float(counts[other] + (counts[:other] == 1).sum()) / given
    return share if share >= MOSTLY_RARE else 0.0
