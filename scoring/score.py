"""the parts of a score -> the score: one number in nats, higher is more anomalous."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from scoring.network import Forward, Network
from scoring.standardise import Features


@dataclass(frozen=True)
class Parts:
    """What each part adds to one score, in nats, weighted; they sum to it."""

    reconstruction: float
    kl: float
    neighbour: float


# where they are columns beside those of a record
PART_COLUMNS = tuple(f"score_{part.name}" for part in fields(Parts))


@dataclass(frozen=True)
class ScoreRule:
    """score = reconstruction + kl_weight * kl + neighbour_weight * neighbour.

    novelty: nats that each first-time event adds to the reconstruction. `neighbour_weight` (nats
    per unit of distance) gives the distance to the nearest fit record the spread of the other
    parts; 0 for a reconstruction-only score (An & Cho, 2015).
    """

    novelty: float
    kl_weight: float = 1.0
    neighbour_weight: float = 0.0

    def total(self, forward: Forward, first_time: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(N,) scores; `first_time` is (N, C), see `scoring.features`."""
        beside = self.kl_weight * forward.kl + self.neighbour_weight * forward.neighbour
        return self._reconstruction(forward, first_time) + beside

    def parts(self, forward: Forward, first_time: NDArray[np.bool_]) -> list[Parts]:
        """One for each record."""
        weighted = (
            self._reconstruction(forward, first_time),
            self.kl_weight * forward.kl,
            self.neighbour_weight * forward.neighbour,
        )
        return list(map(Parts, *(part.tolist() for part in weighted)))

    def _reconstruction(
        self, forward: Forward, first_time: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """(N,) nats, of the network and of first-time events."""
        nats = forward.reconstruction.astype(np.float64)
        if np.count_nonzero(first_time):
            nats += self.novelty * first_time.sum(1)
        return nats


def score_features(network: Network, rule: ScoreRule, features: Features) -> NDArray[np.float64]:
    """(N,) scores of any number of records."""
    return rule.total(network.forward(features.values), features.first_time)
