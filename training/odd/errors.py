"""fit records -> ColumnErrors: how odd the oddest column of a window's last record is.

A sensor that is off for one record is one of many columns in the distance of that record, and one
of W records in the views of the window. So each column is also judged by itself: by what the other
columns of the record, and all of the record before, leave unexplained of it. That is small where
two sensors see the same, or where a value moves slowly, however much the values vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.odd.columns import tails

LEAST_VARIANCE = 0.01  # of the mean variance: what explains a column all but exactly may change

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnErrors:
    """The errors of the C columns of a record with D numbers, given the others and the record
    before.

    Attributes:
        mean: (2 D,) of a record and, first, the one before.
        weights: (2 D, D): numbers less their mean -> errors, in their own deviations and, among
            the numbers of a column, uncorrelated.
        units: (D, C): squared errors -> costs of columns, in units of their tails.
        usual: (C,) where the tails begin, in these units.
    """

    mean: Floats
    weights: Floats
    units: Floats
    usual: Floats

    @classmethod
    def of(cls, pairs: NDArray[np.float32], column_of: NDArray[np.int64]) -> ColumnErrors:
        """Fit the errors to K records and those before them, (K, 2, D). column_of: (D,)."""
        flat = pairs.reshape(len(pairs), -1).astype(np.float64)
        covariance = np.cov(flat, rowvar=False)
        least = LEAST_VARIANCE * covariance.diagonal().mean() + np.finfo(np.float32).tiny
        inverse = np.linalg.inv(covariance + least * np.eye(len(covariance)))
        columns, at = np.unique(column_of, return_inverse=True)
        weights = np.empty((flat.shape[1], len(at)))
        for column in range(len(columns)):
            own = np.flatnonzero(at == column)
            newest = own + len(at)
            root = np.linalg.cholesky(inverse[np.ix_(newest, newest)])
            weights[:, own] = np.linalg.solve(root, inverse[newest]).T
        members = 0.5 * np.eye(len(columns))[at]
        mean = flat.mean(0)
        usual, unit = tails(((flat - mean) @ weights) ** 2 @ members)
        return cls(mean, weights, members / unit, usual / unit)

    def oddest(self, pairs: NDArray[np.float32]) -> Floats:
        """(N, 2, D) records and those before -> (N,): by how many units the oddest column's cost
        exceeds what is usual of it.
        """
        errors = (pairs.reshape(len(pairs), -1) - self.mean) @ self.weights
        return np.asarray((errors**2 @ self.units - self.usual).max(1))
