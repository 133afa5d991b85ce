"""the codes of a column of texts -> how many of its values are rare, or not told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import PLACES, Column, Kind, missing_code, other_code

MOSTLY_RARE = 0.9  # of the values given: so little is learned of the column
FEW = 10  # values: so many may all differ
MANY = "many values"  # more than the network has indicators for


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


def many_names(column: Column, events: NDArray[np.int64], records: int) -> list[str]:
    """Say which of the names that came (events,) times in so many records the network does not
    tell apart; nothing where it tells all.
    """
    names, rare = len(column.categories), int(events[-1])
    if names <= PLACES:
        return []
    share, rest = (count / records for count in (events[PLACES:names].sum(), rare))
    new = f"counts as one of the rare ones, {rest:.1%}" if rare else "is an unseen event, "
    new += "" if rare else "unless names come anew all the time"
    return [
        f"{MANY}: {names - PLACES:,} of the {names:,} values that have a name, in {share:.1%} of "
        "the records, share one indicator: the network does not tell them apart. What each never "
        f"comes with is learned all the same, and a value without a name {new}."
    ]
