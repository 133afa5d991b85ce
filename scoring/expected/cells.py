"""The cells of records whose expected value is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NONE = -1  # in place of a feature's index


@dataclass(frozen=True)
class Cells:
    """M cells, each in one column of one record.

    Attributes:
        features: (M, D) standardised features of the record, as observed.
        columns: (M,) index of the column in the schema.
    """

    features: NDArray[np.float32]
    columns: NDArray[np.int64]


def indices_of(features: Iterable[int | None]) -> NDArray[np.int64]:
    """Return the indices of features, NONE for None."""
    return np.array([NONE if i is None else i for i in features], dtype=np.int64)
