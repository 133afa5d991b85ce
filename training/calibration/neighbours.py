"""features -> the bank: fit records that are kept, so that a record's distance to the nearest is
part of its score.

A VAE is smooth: between two dense clusters it may reconstruct well what nothing like was ever
seen. A handful of neighbours does not. The search is a product, and costs as much as two members
where there are many features: so it looks along the bank's 24 leading directions, and takes what
lies across them to be at right angles.
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
        """The bank of (K, D) records, along their own principal directions."""
        directions = principal_directions(records.astype(np.float64))
        places, off = _split(records, directions)
        return cls(directions, np.column_stack([places, np.sqrt(off)]))

    def __len__(self) -> int:
        return len(self.places)

    def nearest_distance(
        self, x: NDArray[np.float32], own: NDArray[np.int64] | None = None
    ) -> Floats:
        """(N,) distance to the nearest record of the bank; `own` is a record's own place there,
        which does not count, or -1.
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
    """(K, D) -> (D, Q): those in which the records are longest."""
    if records.shape[1] <= DIRECTIONS or not len(records):
        return np.eye(records.shape[1])
    return np.linalg.svd(records, full_matrices=False)[2][:DIRECTIONS].T


def _split(x: NDArray[np.float32], directions: Floats) -> tuple[Floats, Floats]:
    """(N, D) -> the places along the directions, (N, Q), and the squared distances off them."""
    places = x.astype(np.float64) @ directions
    return places, ((x - places @ directions.T) ** 2).sum(1)


def keep_records(x: NDArray[np.float32], most: int, seed: int) -> tuple[Bank, NDArray[np.int64]]:
    """A bank of some of the N fit records, and each record's own place in it, or -1."""
    kept = np.sort(stream(seed, Stream.NEIGHBOURS).permutation(len(x))[:most])
    own = np.full(len(x), -1)
    own[kept] = np.arange(len(kept))
    return Bank.of(x[kept]), own


def spread(values: Floats) -> float:
    """From the median to the 95 % quantile."""
    middle, high = np.quantile(values, [0.5, 0.95])
    return float(high - middle)


def neighbour_weight(others: Floats, distances: Floats) -> float:
    """Nats per unit of distance that give the distance half the spread of the score's other
    parts; 0 without spread.
    """
    wide = spread(distances)
    return SHARE * spread(others) / wide if wide > 0 else 0.0
