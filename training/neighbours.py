"""features -> the bank: fit records that are kept, so that a record's distance to the nearest is
part of its score.

A VAE is smooth: between two dense clusters it may reconstruct well what nothing like was ever
seen. A handful of neighbours does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHUNK = 2048
SHARE = 0.5  # of the other parts' spread; from 0.25 to 1.5 makes no difference beyond noise


def pick_bank(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Indices of the fit records that are kept."""
    return np.sort(np.random.default_rng([seed, 1]).permutation(n)[:most])


def nearest_distance(
    x: NDArray[np.float32], bank: NDArray[np.float32], own: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(N,) distance to the nearest record of the bank; `own` is a record's own place there, which
    does not count, or -1.
    """
    out = np.empty(len(x))
    norms = (bank.astype(np.float64) ** 2).sum(1)
    for start in range(0, len(x), CHUNK):
        chunk = x[start : start + CHUNK].astype(np.float64)
        squared = norms - 2 * chunk @ bank.T
        mine = own[start : start + CHUNK]
        squared[np.flatnonzero(mine >= 0), mine[mine >= 0]] = np.inf
        nearest = bank[squared.argmin(1)]
        out[start : start + CHUNK] = np.sqrt(((chunk - nearest) ** 2).sum(1))
    return out


def spread(values: NDArray[np.float64]) -> float:
    """From the median to the 95 % quantile."""
    middle, high = np.quantile(values, [0.5, 0.95])
    return float(high - middle)


def neighbour_weight(others: NDArray[np.float64], distances: NDArray[np.float64]) -> float:
    """Nats per unit of distance that give the distance half the spread of the score's other
    parts; 0 without spread.
    """
    wide = spread(distances)
    return SHARE * spread(others) / wide if wide > 0 else 0.0
