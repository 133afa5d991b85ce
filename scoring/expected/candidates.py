"""whitened residuals -> the columns of a record that are worth trying.

A column is worth trying if its own errors are not those that go with the errors in the others:
what it costs, given these. A rare category costs hundreds of nats, be it ever so normal, where a
number that is wrong may cost ten. So numbers and other columns each have an order of their own,
and the two take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.conditional import Conditional
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
    conditional: Conditional
    unseen: float

    def pick(
        self,
        features: Features,
        whitened: Floats,
        most: int,
        broken: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Return the columns of N records that are worth trying, the most promising first.

        Args:
            whitened: (N, S, D) whitened residuals of N records by S members.
            most: the number of columns for each record, at most C.
            broken: (N, C) the columns of the relations that a record breaks; None if none does.
        """
        pulls = self.pulls(features, whitened)
        if broken is not None:
            pulls += self.unseen * broken
        turns = np.empty(pulls.shape, np.int64)
        for kind in (self._numeric, ~self._numeric):
            order = np.argsort(-pulls[:, kind], axis=1, kind="stable")
            turns[:, kind] = np.argsort(order, axis=1)
        return np.argsort(turns, axis=1, kind="stable")[:, :most]

    def pulls(self, features: Features, whitened: Floats) -> Floats:
        """Return how strongly the errors pull at each column, (N, C) nats.

        That is by how much 1/2 r' Sigma^-1 r falls if the column's own errors are those that go
        best with all others. An unseen value adds its nats.
        """
        weighed = self.precision.weigh(whitened.mean(1))
        by_feature = 0.5 * weighed * self.conditional.beyond(weighed)
        pulls = by_feature @ self.vectorizer.column_map
        return np.asarray(pulls + self.unseen * features.unseen)

    @cached_property
    def _numeric(self) -> NDArray[np.bool_]:
        columns = self.vectorizer.schema.columns
        return np.array([column.is_number for column in columns])
