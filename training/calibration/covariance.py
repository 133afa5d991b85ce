"""residuals -> Precision: the inverse of their shrunk second moment.

The decoder is fitted with a diagonal sigma. Scores use the full covariance of the out-of-bag
residuals at the posterior mean instead. To fit the full covariance from the start was worse (see
`benchmarks/RESULTS.md`).

A few records of 20,000 that are wrong by fifty deviations would widen it where columns follow each
other closely, so that a number which is off by half a deviation is usual. So a record counts no
more than one that is far out, as in Huber's M-estimator of scatter (Maronna, 1976).
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
USUAL, FAR = 0.9, 20.0  # squared distances so many times that of most records are far out
ROUNDS = 3  # of the weights, which then hardly change
LOOKED_AT = 2_000  # records that show what most residuals are
CLIPPED = 10.0  # times what most residuals of a feature are at most: no more counts at first


def fit_precision(
    residuals: NDArray[np.float32], least: NDArray[np.float64] | None = None
) -> Precision:
    """(R, D) standardised residuals of R records -> Precision.

    Args:
        least: (D,) second moments that theirs do not lie below; correlations stay. Where it is
            above 0, as of events, a record that is far out counts in full: a rare event is no
            error.
    """
    found, weighed = _fit(_clipped(residuals, least)), residuals
    for _ in range(ROUNDS):
        whitened = _single(found).whiten(residuals)
        distance = np.einsum("rd,rd->r", whitened, whitened)
        far = FAR * max(float(np.quantile(distance, USUAL)), residuals.shape[1])
        weighed = residuals * np.sqrt(far / np.maximum(distance, far))[:, None]
        found = _fit(weighed)
        if not (distance > far).any():
            break
    if least is None:
        return found
    own = _diagonal(weighed)
    wanted = np.where(least > 0, np.maximum(_diagonal(residuals), least), own)
    return replace(found, scale=found.scale / np.sqrt(wanted / own))


def _clipped(
    residuals: NDArray[np.float32], least: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """Return residuals of which none of a number is far beyond those of most records: many that
    are far out alike would otherwise pass for usual.
    """
    some = residuals[:: max(len(residuals) // LOOKED_AT, 1)]
    edge = CLIPPED * np.quantile(np.abs(some), USUAL, axis=0).astype(np.float32)
    edge[(edge == 0) | (least > 0 if least is not None else False)] = np.inf
    return np.clip(residuals, -edge, edge)


def _fit(residuals: NDArray[np.float32]) -> Precision:
    records, features = residuals.shape
    weight = float(np.clip(features / max(records, 1), *SHRINK_RANGE))
    if features > FULL_FEATURES:
        return _low_rank(residuals, weight)
    wide = residuals.astype(np.float64)
    moment = wide.T @ wide / len(wide)
    shrunk = (1 - weight) * moment
    shrunk[np.diag_indices_from(shrunk)] = np.diag(moment) + RIDGE
    return precision_of(shrunk)


def _diagonal(residuals: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.mean(residuals.astype(np.float64) ** 2, axis=0) + RIDGE)


def _single(found: Precision) -> Precision:
    """Return a precision in single precision, which is enough for weights."""
    arrays = (found.scale, found.basis, found.shrink)
    return Precision(*(own.astype(np.float32) for own in arrays))


def precision_of(covariance: NDArray[np.float64]) -> Precision:
    """Return the Precision of a (D, D) covariance."""
    deviation = np.sqrt(np.diag(covariance))
    strength, basis = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    return Precision(1 / deviation, basis, 1 - 1 / np.sqrt(strength))


def _low_rank(residuals: NDArray[np.float32], weight: float) -> Precision:
    """Keep the strongest correlations, and all variances."""
    from sklearn.utils.extmath import randomized_svd  # a second of imports that few runs need

    deviation = np.sqrt(_diagonal(residuals))
    scaled = residuals / (deviation * np.sqrt(len(residuals))).astype(np.float32)
    rank = min(RANK, *scaled.shape)
    _, strength, directions = randomized_svd(scaled, rank, random_state=0)
    factor = np.sqrt(1 - weight) * (strength[:, None] * directions).T.astype(np.float64)  # (D, R)
    rest = np.sqrt(1 - (factor**2).sum(axis=1))  # its square is at least `weight`
    basis, inner, _ = np.linalg.svd(factor / rest[:, None], full_matrices=False)
    return Precision(1 / (rest * deviation), basis, 1 - 1 / np.sqrt(1 + inner**2))
