"""the parts of a score -> the score: one number in nats, higher is more anomalous."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scoring.network import Floats, Forward, Network
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

    @cached_property
    def _weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As arrays: NumPy would make them anew for each product."""
        return np.array(self.kl_weight), np.array(self.neighbour_weight)

    def total(self, forward: Forward, features: Features) -> NDArray[np.float64]:
        """(N,) scores."""
        kl_weight, neighbour_weight = self._weights
        beside = kl_weight * forward.kl + neighbour_weight * forward.neighbour
        return beside + self._reconstruction(forward, features)

    def parts(self, forward: Forward, features: Features) -> list[Parts]:
        """One for each record."""
        weighted = (
            self._reconstruction(forward, features),
            self.kl_weight * forward.kl,
            self.neighbour_weight * forward.neighbour,
        )
        return list(map(Parts, *(part.tolist() for part in weighted)))

    def _reconstruction(self, forward: Forward, features: Features) -> Floats:
        """(N,) nats, of the network and of first-time events."""
        nats = forward.reconstruction
        if features.may_surprise:
            nats = nats + self.novelty * features.first_time.sum(1)
        return nats


def score_features(network: Network, rule: ScoreRule, features: Features) -> NDArray[np.float64]:
    """(N,) scores of any number of records."""
    return rule.total(network.forward(features.values), features)
