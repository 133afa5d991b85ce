"""categories without an indicator of their own -> the one that they share.

The network gets an indicator for each of a column's most frequent categories, and one for all
others. What these are is known all the same: a value that is none of them is unseen, and each may
rule out what other columns hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.feature import Feature, ints
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Column, Kind, Schema, other_code

# Of columns with more categories than indicators: how many fit records had each of the codes that
# share one, the last codes up to that of all other values. A code that none had is unseen.
SharedOf = Mapping[str, tuple[int, ...]]


def first_of(column: Column, counts: Sequence[int]) -> int:
    """Return the first code of a column that shares an indicator."""
    return other_code(column) + 1 - len(counts)


def codes_of(column: Column, counts: Sequence[int]) -> NDArray[np.int64]:
    """Return the codes that share an indicator and were seen, the name of most records first, and
    last that of all values without a name.
    """
    own = ints(counts)
    order = np.append(np.argsort(-own[:-1], kind="stable"), np.arange(len(own))[-1:])
    return first_of(column, counts) + order[own[order] > 0]


def names_of(column: Column, counts: Sequence[int]) -> int:
    """Return how many categories share an indicator."""
    return len(column.categories) - first_of(column, counts)


def check_shared(schema: Schema, features: Sequence[Feature], shared: SharedOf) -> None:
    """Check that what shares an indicator has no other, and that there is one.

    Raises:
        ArtifactError: training cannot have written it.
    """
    columns = {column.name: column for column in schema.columns}
    for name, counts in shared.items():
        column = columns.get(name)
        own = [f.code for f in features if f.column == name]
        if not (
            column is not None
            and column.kind is Kind.CATEGORICAL
            and 1 < len(counts) <= other_code(column)
            and min(counts) >= 0
            and not set(own) & set(range(first_of(column, counts), other_code(column)))
            and (len(own) < 2 or not any(counts) or other_code(column) in own)
        ):
            raise ArtifactError(
                f"the categories of column '{one_line(name)}' that share an indicator are not "
                "those that training writes."
            )
