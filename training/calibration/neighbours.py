"""features -> Bank: fit records to which a record's distance is measured, as a part of its score.

A VAE is smooth: between two dense clusters it may reconstruct well a record unlike any it has
seen. The distance to the nearest fit records tells such records apart. The search is a matrix
product; with many features it would cost as much as two members. So it looks along the bank's 24
leading directions only, and treats what lies across them as orthogonal. Where these are all
features, distances say more, and so more records are kept and the part weighs more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.config import FEW_FEATURES
from vaewatch.training.streams import Stream, stream

CHUNK = 2048
DIRECTIONS = FEW_FEATURES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """How the neighbour part is made.

    records: kept at most. nearest: how many distances it averages. share: its spread, as a share
    of that of the other parts; from 0.25 to 1.5 makes little difference.
    """

    records: int
    nearest: int
    share: float


NARROW = Part(records=4000, nearest=3, share=1.0)
WIDE = Part(records=1000, nearest=1, share=0.5)


def part_for(features: int) -> Part:
    """Return how the part is made for so many features."""
    return NARROW if features <= DIRECTIONS else WIDE


@dataclass(frozen=True)
class Bank:
    """K fit records, by their places along Q directions and, last, their distance off them.

    directions: (D, Q), orthonormal; with D <= 24 features the features themselves. places:
    (K, Q + 1). nearest: how many of the records a distance is averaged over.
    """

    directions: Floats
    places: Floats
    nearest: int

    @classmethod
    def of(
        cls, records: NDArray[np.float32], nearest: int, directions: Floats | None = None
    ) -> Bank:
        """Make the bank of (K, D) standardised records, along their own principal directions if no
        others are given.
        """
        if directions is None:
            directions = principal_directions(records.astype(np.float64))
        places, off = _split(records, directions)
        nearest = max(1, min(nearest, len(records) - 1))  # a kept record itself does not count
        return cls(directions, np.column_stack([places, np.sqrt(off)]), nearest)

    def __len__(self) -> int:
        return len(self.places)

    def only(self, kept: NDArray[np.bool_]) -> Bank:
        """Return a bank of some of the records, (K,)."""
        return replace(self, places=self.places[kept])

    def distance(self, x: NDArray[np.float32], own: NDArray[np.int64] | None = None) -> Floats:
        """(N, D) -> (N,): mean distance to the nearest records, in standardised features.

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
            near = _take_least(squared, self.nearest)
            apart = ((places[:, None] - self.places[near]) ** 2).sum(2)
            out[start : start + CHUNK] = np.sqrt(apart + off[:, None]).mean(1)
        return out


def _take_least(values: Floats, count: int) -> NDArray[np.int64]:
    """(N, K) -> (N, count): the places of each record's least values, the least one first. These
    become infinite: one search after the other takes a tenth of the time of a partition.
    """
    rows, found = np.arange(len(values)), np.empty((len(values), count), np.int64)
    for i in range(count):
        found[:, i] = values.argmin(1)
        values[rows, found[:, i]] = np.inf
    return found


def principal_directions(records: Floats) -> Floats:
    """(K, D) -> (D, Q): the orthonormal directions in which the records extend furthest."""
    if records.shape[1] <= DIRECTIONS or not len(records):
        return np.eye(records.shape[1])
    return np.linalg.svd(records, full_matrices=False)[2][:DIRECTIONS].T


def _split(x: NDArray[np.float32], directions: Floats) -> tuple[Floats, Floats]:
    """(N, D) -> places along the directions, (N, Q), and squared distances off them, (N,)."""
    places = x.astype(np.float64) @ directions
    return places, ((x - places @ directions.T) ** 2).sum(1)


def keep_records(
    x: NDArray[np.float32], most: int | None, seed: int
) -> tuple[Bank, NDArray[np.int64]]:
    """Keep at most `most` of (N, D) fit records in a bank, as many as suit the features if it is
    None; also return, (N,), each record's own place in it, or -1.
    """
    part = part_for(x.shape[1])
    most = part.records if most is None else most
    kept = np.sort(stream(seed, Stream.NEIGHBOURS).permutation(len(x))[:most])
    own = np.full(len(x), -1)
    own[kept] = np.arange(len(kept))
    return Bank.of(x[kept], part.nearest), own


def spread(values: Floats) -> float:
    """Return the distance from the median of (N,) values to their 95% quantile."""
    middle, high = np.quantile(values, [0.5, 0.95])
    return float(high - middle)


def neighbour_weight(others: Floats, distances: Floats, share: float) -> float:
    """Return nats per unit of distance, so that the (N,) distances spread a share of what the
    score's (N,) other parts do; 0 if they do not spread.
    """
    wide = spread(distances)
    return share * spread(others) / wide if wide > 0 else 0.0
