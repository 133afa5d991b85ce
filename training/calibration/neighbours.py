"""features -> Bank: fit records to which a record's distance is measured, as a part of its score.

A VAE is smooth: between two dense clusters it may reconstruct well a record unlike any it has
seen. The distance to the nearest fit record tells such records apart. The search is a matrix
product; with many features it would cost as much as two members. So it looks along the bank's 24
leading directions only, and treats what lies across them as orthogonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.streams import Stream, stream

CHUNK = 2048
SHARE = 0.5  # of the other parts' spread; from 0.25 to 1.5 makes no difference beyond noise
DIRECTIONS = 24

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bank:
    """K fit records, by their places along Q directions and, last, their distance off them.

    directions: (D, Q), orthonormal; with D <= 24 features the features themselves. places:
    (K, Q + 1).
    """

    directions: Floats
    places: Floats

    @classmethod
    def of(cls, records: NDArray[np.float32]) -> Bank:
        """Make the bank of (K, D) standardised records, along their own principal directions."""
        directions = principal_directions(records.astype(np.float64))
        places, off = _split(records, directions)
        return cls(directions, np.column_stack([places, np.sqrt(off)]))

    def __len__(self) -> int:
        return len(self.places)

    def nearest_distance(
        self, x: NDArray[np.float32], own: NDArray[np.int64] | None = None
    ) -> Floats:
        """(N, D) -> (N,): distance to the nearest record of the bank, in standardised features.

        own: (N,) a record's own place in the bank, which does not count, or -1.
        """
        out = np.empty(len(x))
        for start in range(0, len(x), CHUNK):
            places, off = _split(x[start : start + CHUNK], self.directions)
            places = np.column_stack([places, np.zeros(len(places))])
            squared = (self.places**2).sum(1) - 2 * places @ self.places.T
            if own is not None:
                mine = own[start : start + CHUNK]
                squared[np.flatnonzero(mine >= 0), mine[mine >= 0]] = np.inf
            apart = places - self.places[squared.argmin(1)]
            out[start : start + CHUNK] = np.sqrt((apart**2).sum(1) + off)
        return out


def principal_directions(records: Floats) -> Floats:
    """(K, D) -> (D, Q): the orthonormal directions in which the records extend furthest."""
    if records.shape[1] <= DIRECTIONS or not len(records):
        return np.eye(records.shape[1])
    return np.linalg.svd(records, full_matrices=False)[2][:DIRECTIONS].T


def _split(x: NDArray[np.float32], directions: Floats) -> tuple[Floats, Floats]:
    """(N, D) -> places along the directions, (N, Q), and squared distances off them, (N,)."""
    places = x.astype(np.float64) @ directions
    return places, ((x - places @ directions.T) ** 2).sum(1)


def keep_records(x: NDArray[np.float32], most: int, seed: int) -> tuple[Bank, NDArray[np.int64]]:
    """Keep at most `most` of (N, D) fit records in a bank; also return, (N,), each record's own
    place in it, or -1.
    """
    kept = np.sort(stream(seed, Stream.NEIGHBOURS).permutation(len(x))[:most])
    own = np.full(len(x), -1)
    own[kept] = np.arange(len(kept))
    return Bank.of(x[kept]), own


def spread(values: Floats) -> float:
    """Return the distance from the median of (N,) values to their 95 % quantile."""
    middle, high = np.quantile(values, [0.5, 0.95])
    return float(high - middle)


def neighbour_weight(others: Floats, distances: Floats) -> float:
    """Return nats per unit of distance, so that the (N,) distances spread SHARE as much as the
    score's (N,) other parts; 0 if they do not spread.
    """
    wide = spread(distances)
    return SHARE * spread(others) / wide if wide > 0 else 0.0
