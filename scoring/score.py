"""the parts of a score -> the score: one number in nats, higher is more anomalous."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.network import Forward, Network
from vaewatch.scoring.standardise import Features


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
    def _weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As arrays: NumPy would make them anew for each product."""
        return np.array(self.kl_weight, np.float32), np.array(self.neighbour_weight, np.float32)

    def total(self, forward: Forward, features: Features) -> NDArray[np.float64]:
        """(N,) scores."""
        kl_weight, neighbour_weight = self._weights
        beside = kl_weight * forward.kl + neighbour_weight * forward.neighbour
        score = (forward.reconstruction + beside).astype(np.float64)
        if features.may_surprise:
            score += self._novelties(features)
        return score

    def parts(self, forward: Forward, features: Features) -> list[Parts]:
        """One for each record."""
        weighted = (
            forward.reconstruction + self._novelties(features),
            self.kl_weight * forward.kl,
            self.neighbour_weight * forward.neighbour,
        )
        return list(map(Parts, *(part.tolist() for part in weighted)))

    def _novelties(self, features: Features) -> NDArray[np.float64]:
        """(N,) nats of first-time events."""
        return np.asarray(self.novelty * features.first_time.sum(1))


def score_features(network: Network, rule: ScoreRule, features: Features) -> NDArray[np.float64]:
    """(N,) scores of any number of records."""
    return rule.total(network.forward(features.values), features)
