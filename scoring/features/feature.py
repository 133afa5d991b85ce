"""One feature of the network's input, and the features of N records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE = 1024  # records at a time, so that intermediate arrays stay in the cache
MISSING_FLAG = -1  # in place of a code
FEATURE_LIMIT = 1e6  # standard deviations: float32 stays finite, and no verdict changes
LARGEST_LOG = 700.0  # exp of more overflows a float64
INDICATOR = 4  # the sort key of an indicator
MOST_PLACES = 300  # 10 to that power is finite


@dataclass(frozen=True)
class Feature:
    """One number of the network's input: (raw - mean) / deviation.

    `code`: None of a numeric column's value, -1 of its missing flag, -2 and -3 of the cosine and
    sine of a circular one, else the discrete code indicated.
    """

    column: str
    code: int | None
    mean: float
    deviation: float
    log1p: bool = False

    @property
    def is_event(self) -> bool:
        return self.code is not None and self.code >= MISSING_FLAG  # an indicator or a flag


@dataclass(frozen=True)
class Features:
    """The features of N records.

    Attributes:
        values: (N, D) float32, standardised: the network's input.
        unseen: (N, C), whether a column holds a value that the fit data never had.
        any_unseen: False only if no column does; saves looking at `unseen`.
        newest: of windows, (N,) how many values of each one's newest record are unseen.
    """

    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    any_unseen: bool
    newest: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Features:
        newest = None if self.newest is None else self.newest[rows]
        return Features(self.values[rows], self.unseen[rows], self.any_unseen, newest)


def feature_order(feature: Feature) -> int:
    """Return the sort key of a feature, by which each kind of feature is one slice: counts, other
    values, those of circles, missing flags, indicators.
    """
    if feature.code is None:
        return 0 if feature.log1p else 1
    if not feature.is_event:
        return 2
    return 3 if feature.code == MISSING_FLAG else INDICATOR


def places_of_columns(features: Sequence[Feature]) -> dict[str, list[int]]:
    """Return the indices of each column's features."""
    places: dict[str, list[int]] = {}
    for i, feature in enumerate(features):
        places.setdefault(feature.column, []).append(i)
    return places


def signed_log1p(
    x: NDArray[np.float64], out: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return sign(x) log1p(|x|): log1p for counts that keeps negative ones far from zero."""
    return np.copysign(np.log1p(np.abs(x)), x, out=out)


def signed_expm1(x: Any) -> Any:
    """Invert `signed_log1p`, (N,) or one; the result is finite, however far off x is."""
    return np.copysign(np.expm1(np.minimum(np.abs(x), LARGEST_LOG)), x)


def rounded(x: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Round numbers to significant digits."""
    with np.errstate(divide="ignore"):
        places = digits - 1 - np.floor(np.log10(np.abs(x)))
    up, down = (10.0 ** np.clip(p, 0, MOST_PLACES) for p in (places, -places))
    return np.asarray(np.rint(x * up / down) / up * down)


def ints(values: Iterable[int]) -> NDArray[np.int64]:
    """Return the values as an array, for a lookup table."""
    return np.array(list(values), dtype=np.int64)


def floats(values: Iterable[float]) -> NDArray[np.float64]:
    """Return the values as an array, for a lookup table."""
    return np.array(list(values), dtype=np.float64)
