"""numbers of a table -> the terms of sums that columns may be: other columns, and their products.

What is sold costs price x quantity, less a discount, and a tax on it: a sum of products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

MOST_TERMS = 500  # products of two columns are among these, and of three, if all are
MOST_FACTORS = 3

Numbers = NDArray[np.float64]
Factors = tuple[int, ...]


@dataclass(frozen=True)
class Terms:
    """The T terms of N records.

    Attributes:
        x: (N, columns), NaN where missing.
        factors: (T,) the columns whose product each term is; first the columns themselves.
    """

    x: Numbers
    factors: tuple[Factors, ...]

    @classmethod
    def columns(cls, x: Numbers) -> Terms:
        """Return the columns alone."""
        return cls(x, tuple((i,) for i in range(x.shape[1])))

    @classmethod
    def products(cls, x: Numbers) -> Terms:
        """Return the columns, and their products if these are not too many."""
        factors = list[Factors]()
        for count in range(1, MOST_FACTORS + 1):
            more = list(combinations(range(x.shape[1]), count))
            if count == 1 or len(factors) + len(more) <= MOST_TERMS:
                factors += more
        return cls(x, tuple(factors))

    def __len__(self) -> int:
        return len(self.factors)

    def take(self, rows: NDArray[np.int64]) -> Terms:
        return replace(self, x=self.x[rows])

    def of(self, places: Sequence[int]) -> Numbers:
        """Return some of the terms, (N, places); NaN where a factor is missing."""
        out = np.empty((len(self.x), len(places)))
        with np.errstate(over="ignore", invalid="ignore"):
            for at, place in enumerate(places):
                out[:, at] = self.x[:, self.factors[place]].prod(axis=1)
        out[~np.isfinite(out)] = np.nan
        return out

    def of_which(self, column: int) -> Iterator[int]:
        """Yield the places of the terms that have a column."""
        return (place for place, own in enumerate(self.factors) if column in own)

    def is_product(self, places: Sequence[int]) -> bool:
        """Return whether one of the terms is a product."""
        return any(len(self.factors[place]) > 1 for place in places)
