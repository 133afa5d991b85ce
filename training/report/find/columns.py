"""out-of-bag residuals -> how well columns are reconstructed, and whether they spread as assumed.

The probability integral transform (PIT) of a residual r is Phi(r / sigma): uniform if residuals
are normal with the sigma that the score divides by (Dawid, 1984).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.training.report.findings import BINS, TENTHS, ColumnFit, Reliability

CENTRAL_DEVIATIONS = 1.6448536269514722  # within which CENTRAL of a normal law lies

Real = NDArray[np.floating[Any]]


def look_at_columns(
    x: NDArray[np.float32], residuals: NDArray[np.float32], vectorizer: Vectorizer
) -> tuple[ColumnFit, ...]:
    """Judge each column by (N, D) features and out-of-bag residuals, standardised."""
    own: dict[str, list[int]] = {name: [] for name in vectorizer.schema.names}
    missing: dict[str, int] = {}
    numeric = {column.name for column in vectorizer.schema.numeric}
    for i, feature in enumerate(vectorizer.features):
        if feature.column in numeric and feature.code == -1:
            missing[feature.column] = i
        else:
            own[feature.column].append(i)
    fits = []
    for name, features in own.items():
        given = x[:, missing[name]] <= 0 if name in missing else np.full(len(x), True)
        scale = np.array([vectorizer.features[i].deviation for i in features])
        values, errors = x[given][:, features] * scale, residuals[given][:, features] * scale
        fits.append(_look_at(name, values, errors, numeric=name in numeric))
    return tuple(fits)


def _look_at(name: str, values: Real, errors: Real, *, numeric: bool) -> ColumnFit:
    """values, errors: (N, F)."""
    spread = float(values.var(0).sum()) if values.size else 0.0
    if not spread > 0:
        return ColumnFit(name, None, None, ())
    explained = 1 - float((errors**2).sum(-1).mean()) / spread
    if not numeric:
        return ColumnFit(name, explained, None, ())
    z = errors.ravel() / max(float(np.sqrt(np.mean(errors**2))), np.finfo(np.float64).tiny)
    counts = np.histogram(_phi(z), BINS, (0.0, 1.0))[0]
    central = float((np.abs(z) <= CENTRAL_DEVIATIONS).mean())
    return ColumnFit(name, explained, central, tuple(counts.tolist()))


def _phi(z: Real) -> Real:
    """Return the standard normal distribution function; SciPy's would take 0.1 s to import."""
    return np.asarray(torch.special.ndtr(torch.from_numpy(z)).numpy())


def look_at_events(
    x: NDArray[np.float32], residuals: NDArray[np.float32], vectorizer: Vectorizer
) -> Reliability | None:
    """Compare the probabilities given with what happened; None if no column has events."""
    at = [i for i, feature in enumerate(vectorizer.features) if feature.is_event]
    if not at:
        return None
    mean = np.array([vectorizer.features[i].mean for i in at])
    scale = np.array([vectorizer.features[i].deviation for i in at])
    raw = x[:, at] * scale + mean
    given = np.clip(raw - residuals[:, at] * scale, 0.0, 1.0).ravel()
    happened = (raw > 0.5).ravel()
    bins = np.minimum((given * TENTHS).astype(np.int64), TENTHS - 1)
    asked = np.bincount(bins, minlength=TENTHS)
    total = np.bincount(bins, given, TENTHS)
    hits = np.bincount(bins[happened], minlength=TENTHS)
    return Reliability(asked, total / np.maximum(asked, 1), hits)
