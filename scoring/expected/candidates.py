"""whitened residuals -> the columns of a record that are worth trying.

The errors in a record pull at each column: r Sigma^-1 is how the reconstruction part changes with
its features. A faulty number is pulled hard for how well it is known. A faulty category is not, as
the network gives back whichever it is given; it shows in other columns, whose errors pull at it.
So each kind of column has an order of its own, and the two take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.precision import Floats, Precision


@dataclass(frozen=True)
class Candidates:
    """Picks the columns to try.

    Attributes:
        unseen: nats that each unseen value costs.
    """

    vectorizer: Vectorizer
    precision: Precision
    unseen: float

    def pick(self, features: Features, whitened: Floats, most: int) -> NDArray[np.int64]:
        """Return the columns of N records that are worth trying, the most promising first.

        Args:
            whitened: (N, S, D) whitened residuals of N records by S members.
            most: the number of columns for each record, at most C.
        """
        pulls = self.pulls(features, whitened)
        turns = np.empty(pulls.shape, np.int64)
        for kind in (self._numeric, ~self._numeric):
            order = np.argsort(-pulls[:, kind], axis=1, kind="stable")
            turns[:, kind] = np.argsort(order, axis=1)
        return np.argsort(turns, axis=1, kind="stable")[:, :most]

    def pulls(self, features: Features, whitened: Floats) -> Floats:
        """Return how strongly the errors pull at each column, (N, C).

        With g = r Sigma^-1 a number is pulled by the sum over its features of
        g^2 / 2 (Sigma^-1)_jj, the nats that the best value of that feature saves; other columns by
        the sum of the absolute values of g. An unseen value adds its nats.
        """
        weighed = np.abs(self.precision.weigh(whitened.mean(1)))
        by_feature = np.where(self._of_numbers, weighed**2 * self._halves, weighed)
        pulls = by_feature @ self.vectorizer.column_map
        return np.asarray(pulls + self.unseen * features.unseen)

    @cached_property
    def _numeric(self) -> NDArray[np.bool_]:
        columns = self.vectorizer.schema.columns
        return np.array([column.is_number for column in columns])

    @cached_property
    def _of_numbers(self) -> NDArray[np.bool_]:
        return self._numeric[self.vectorizer.column_of]

    @cached_property
    def _halves(self) -> Floats:
        """1 / 2 (Sigma^-1)_jj, (D,)."""
        at = np.arange(len(self.vectorizer.features))
        return np.asarray(0.5 / self.precision.entries(at, at), dtype=np.float32)
