"""residuals -> precision: how the features' reconstruction errors go together in normal records.

The decoder that is fitted has a diagonal sigma; the one that scores has the full covariance of the
out-of-bag residuals at the posterior mean. Fitting the full one from the start was worse (see
`benchmarks/RESULTS.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHRINK_RANGE = (0.05, 0.5)
RIDGE = 1e-4
FULL_FEATURES = (
    256  # above this many: diagonal plus low rank, so that no D x D matrix is ever made
)
RANK = 64

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FullPrecision:
    """Sigma^-1 as (D, D)."""

    matrix: Floats

    def apply(self, residuals: Floats) -> Floats:
        """(..., D) -> residuals Sigma^-1."""
        return residuals @ self.matrix


@dataclass(frozen=True)
class LowRankPrecision:
    """Sigma^-1 = diag(diagonal) - factor factor', with (D,) and (D, R)."""

    diagonal: Floats
    factor: Floats

    def apply(self, residuals: Floats) -> Floats:
        """(..., D) -> residuals Sigma^-1."""
        return residuals * self.diagonal - (residuals @ self.factor) @ self.factor.T


Precision = FullPrecision | LowRankPrecision


def fit_precision(residuals: NDArray[np.float32], records: int) -> Precision:
    """(R, D) residuals of some records -> the inverse of their shrunk second moment."""
    features = residuals.shape[1]
    weight = float(np.clip(features / max(records, 1), *SHRINK_RANGE))
    if features > FULL_FEATURES:
        return _low_rank(residuals, weight)
    wide = residuals.astype(np.float64)
    moment = wide.T @ wide / len(wide)
    shrunk = (1 - weight) * moment
    shrunk[np.diag_indices_from(shrunk)] = np.diag(moment) + RIDGE
    return FullPrecision(np.linalg.inv(shrunk))


def _low_rank(residuals: NDArray[np.float32], weight: float) -> LowRankPrecision:
    """Keep the strongest correlations, all of the variances, and invert by Woodbury's identity."""
    from sklearn.utils.extmath import randomized_svd  # a second of imports that few runs need

    deviation = np.sqrt(np.mean(residuals.astype(np.float64) ** 2, axis=0) + RIDGE)
    scaled = residuals / (deviation * np.sqrt(len(residuals))).astype(np.float32)
    rank = min(RANK, *scaled.shape)
    _, strength, directions = randomized_svd(scaled, rank, random_state=0)
    factor = np.sqrt(1 - weight) * (strength[:, None] * directions).T.astype(np.float64)  # (D, R)
    rest = 1 - (factor**2).sum(
        axis=1
    )  # at least `weight`, as correlations have a diagonal of at most 1
    inner = np.eye(rank) + factor.T @ (factor / rest[:, None])
    half = np.linalg.cholesky(np.linalg.inv(inner))
    return LowRankPrecision(
        1 / (rest * deviation**2), (factor / rest[:, None]) @ half / deviation[:, None]
    )
