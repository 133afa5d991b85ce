"""out-of-bag residuals -> ColumnView: how odd the oddest column of a record is.

The squared errors of a record add up, so that a column of many rare values, whose cost moves by
hundreds of nats among normal records, hides a column that is never wrong. So each column's cost is
also set beside what that column usually costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.covariance import FULL_FEATURES
from vaewatch.training.odd.scale import OddScale

LEAST_RECORDS = 500  # whose costs show a column's tail
TAIL = 0.9  # the quantile of a column's costs at which its tail begins
LEAST_UNIT = 0.1  # nats: rounding is no tail
LEAST_SPREAD = 0.5  # units


@dataclass(frozen=True)
class ColumnCosts:
    """What each of C columns costs, given the errors in the others.

    That is by how much 1/2 r' Sigma^-1 r falls if a column's own errors are those that go best
    with the errors in the other columns: 1/2 z_G' (Sigma^-1_GG)^-1 z_G of its features G, with
    z = Sigma^-1 r. Of a number it is half the squared error, in deviations of the error that the
    others leave open.

    Attributes:
        roots: (D, D); a whitened residual times these has half squared lengths that are the costs.
        column: (D,) the column of each feature, from 0 to C - 1.
    """

    roots: NDArray[np.float64]
    column: NDArray[np.int64]

    @classmethod
    def of(cls, precision: Precision, column_of: NDArray[np.int64]) -> ColumnCosts:
        """Return the costs of the columns that (D,) features are of."""
        column = np.unique(column_of, return_inverse=True)[1]
        root = precision.whiten(np.eye(len(column))).astype(np.float64)  # Sigma^-1 = root root'
        roots = np.empty_like(root)
        for each in range(column.max() + 1):
            own = column == each
            square = root[own] @ root[own].T  # Sigma^-1_GG
            roots[:, own] = np.linalg.solve(np.linalg.cholesky(square), root[own]).T
        return cls(roots, column)

    @property
    def members(self) -> NDArray[np.float64]:
        """(D, C): 1 where a feature is of a column."""
        return np.eye(self.column.max() + 1)[self.column]

    def of_whitened(self, whitened: Floats) -> NDArray[np.float64]:
        """(..., D) whitened residuals -> (..., C) nats."""
        rotated = whitened.astype(np.float64) @ self.roots
        return np.asarray(0.5 * rotated**2 @ self.members)

    def of_members(self, whitened: Floats) -> NDArray[np.float64]:
        """(S, N, D) whitened residuals of S members -> (N, C) nats, their means."""
        return np.asarray(np.mean([self.of_whitened(own) for own in whitened], axis=0))


@dataclass(frozen=True)
class ColumnView:
    """How odd the oddest column is, and what a score is at least for it.

    Attributes:
        usual, unit: (C,) nats. Where a column's tail begins among normal records, and the mean by
            which what lies in the tail exceeds that; at least as much as `usual`, since members
            differ in what they make of a value that all records share.
        most: nats; a column alone is worth no more than an unseen value in a usual record.
    """

    costs: ColumnCosts
    usual: NDArray[np.float64]
    unit: NDArray[np.float64]
    scale: OddScale
    most: float

    @classmethod
    def of(
        cls,
        costs: ColumnCosts,
        whitened: Floats,
        scores: NDArray[np.float64],
        unseen: float,
        served: Floats | None = None,
    ) -> ColumnView:
        """Fit the view to the (N, D) whitened residuals of normal records, each of a member that
        did not see it, and to the scores that they have without it, (N,).

        unseen: nats that an unseen value adds to a score.
        served: (S, N, D) those of the members that serve. These have seen the records; but if one
            of them is bad at a value that many records have, it shows here.
        """
        found = costs.of_whitened(whitened)
        usual = np.quantile(found, TAIL, axis=0)
        beyond = np.maximum(found - usual, 0.0)
        mean = beyond.sum(0) / np.maximum((beyond > 0).sum(0), 1)
        unit = np.maximum(np.maximum(mean, usual), LEAST_UNIT)
        oddest = _oddest(found, usual, unit)
        if served is not None:
            oddest = np.maximum(oddest, _oddest(costs.of_members(served), usual, unit))
        most = float(np.median(scores)) + unseen
        return cls(costs, usual, unit, OddScale.of(oddest, scores, LEAST_SPREAD), most)

    def least(self, whitened: Floats) -> NDArray[np.float64]:
        """(S, N, D) whitened residuals of S members -> (N,) nats that a score is at least."""
        oddest = _oddest(self.costs.of_members(whitened), self.usual, self.unit)
        return np.minimum(self.scale.apply(oddest), self.most)


def _oddest(
    costs: NDArray[np.float64], usual: NDArray[np.float64], unit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, C) nats -> (N,) units by which the oddest column's cost exceeds what is usual of it."""
    return np.asarray(((costs - usual) / unit).max(1))


def may_view(records: int, column_of: NDArray[np.int64]) -> bool:
    """Say whether there is a view: of more than one column, of few enough features for a full
    covariance, and of enough records.
    """
    columns = len(np.unique(column_of))
    return columns > 1 and len(column_of) <= FULL_FEATURES and records >= LEAST_RECORDS
