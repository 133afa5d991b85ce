"""residuals -> Precision: the inverse of their shrunk second moment.

The decoder is fitted with a diagonal sigma. Scores use the full covariance of the out-of-bag
residuals at the posterior mean instead. To fit the full covariance from the start was worse (see
`benchmarks/RESULTS.md`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.precision import Precision

SHRINK_RANGE = (0.05, 0.5)
RIDGE = 1e-4
FULL_FEATURES = (
    256  # above this many: diagonal plus low rank, so that no D x D matrix is ever made
)
RANK = 64


def fit_precision(
    residuals: NDArray[np.float32], least: NDArray[np.float64] | None = None
) -> Precision:
    """(R, D) standardised residuals of R records -> Precision.

    Args:
        least: (D,) second moments that theirs do not lie below; correlations stay.
    """
    records, features = residuals.shape
    weight = float(np.clip(features / max(records, 1), *SHRINK_RANGE))
    if features > FULL_FEATURES:
        found = _low_rank(residuals, weight)
    else:
        wide = residuals.astype(np.float64)
        moment = wide.T @ wide / len(wide)
        shrunk = (1 - weight) * moment
        shrunk[np.diag_indices_from(shrunk)] = np.diag(moment) + RIDGE
        found = precision_of(shrunk)
    if least is None:
        return found
    own = np.mean(residuals.astype(np.float64) ** 2, axis=0) + RIDGE
    return replace(found, scale=found.scale / np.sqrt(np.maximum(own, least) / own))


def precision_of(covariance: NDArray[np.float64]) -> Precision:
    """Return the Precision of a (D, D) covariance."""
    deviation = np.sqrt(np.diag(covariance))
    strength, basis = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    return Precision(1 / deviation, basis, 1 - 1 / np.sqrt(strength))


def _low_rank(residuals: NDArray[np.float32], weight: float) -> Precision:
    """Keep the strongest correlations, and all variances."""
    from sklearn.utils.extmath import randomized_svd  # a second of imports that few runs need

    deviation = np.sqrt(np.mean(residuals.astype(np.float64) ** 2, axis=0) + RIDGE)
    scaled = residuals / (deviation * np.sqrt(len(residuals))).astype(np.float32)
    rank = min(RANK, *scaled.shape)
    _, strength, directions = randomized_svd(scaled, rank, random_state=0)
    factor = np.sqrt(1 - weight) * (strength[:, None] * directions).T.astype(np.float64)  # (D, R)
    rest = np.sqrt(1 - (factor**2).sum(axis=1))  # its square is at least `weight`
    basis, inner, _ = np.linalg.svd(factor / rest[:, None], full_matrices=False)
    return Precision(1 / (rest * deviation), basis, 1 - 1 / np.sqrt(1 + inner**2))
