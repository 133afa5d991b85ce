"""features -> the noise that the encoder sees in each: more for a feature with heavy tails.

After K-DSM (arXiv 2605.06955): sigma = 0.3 (1 + 0.33 (k - 3)), within [0.1, 3], where k is the
kurtosis of the feature after it is made unimodal, so that several modes do not look like light
tails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PLAIN, PER_KURTOSIS, LEAST, MOST = 0.3, 0.33, 0.1, 3.0
TRIM = 0.02
BINS = 200
ROWS = 20_000  # of the fit data, evenly spread; more would not move a kurtosis


def noise_deviations(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) standardised features -> (D,) standard deviations of their noise."""
    some = x[:: max(1, len(x) // ROWS)]
    return np.array([noise_deviation(column) for column in some.T], dtype=np.float32)


def noise_deviation(values: NDArray[np.float32]) -> float:
    """(N,) values -> the deviation of their noise; PLAIN if at most two of them differ."""
    low, high = np.quantile(values, [TRIM, 1 - TRIM])
    kept = values[(values >= low) & (values <= high)]
    if high <= low or values.min() == values.max() or len(np.unique(values)) <= 2:
        return PLAIN
    kurtosis = unimodal_kurtosis(kept)
    return float(np.clip(PLAIN * (1 + PER_KURTOSIS * (kurtosis - 3)), LEAST, MOST))


def unimodal_kurtosis(values: NDArray[np.floating[Any]]) -> float:
    """Return the kurtosis of the histogram of (N,) values with its bins rearranged: the fullest in
    the middle, and the others in falling order to its right and left in turn.
    """
    if np.ptp(values) < 2 * BINS * np.spacing(np.abs(values).max()):
        values = values.astype(np.float64)  # single precision has no edges between so close ones
    counts, _ = np.histogram(values, BINS)
    rank = np.arange(BINS)
    place = np.empty(BINS)
    place[np.argsort(-counts, kind="stable")] = np.where(
        rank % 2 == 1, (rank + 1) // 2, -(rank // 2)
    )
    share = counts / counts.sum()
    centred = place - share @ place
    variance = share @ centred**2
    return float(share @ centred**4 / variance**2) if variance > 0 else 3.0
