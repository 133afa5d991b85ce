"""the parts of a score -> the score: one number in nats, higher is more anomalous."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.network import Floats, Forward, Network


@dataclass(frozen=True)
class Parts:
    """What each part adds to one score, in nats; the three sum to it."""

    reconstruction: float
    kl: float
    neighbour: float


NO_PARTS = Parts(math.nan, math.nan, math.nan)  # of a record that was not judged

# their names as columns of an output
PART_COLUMNS = tuple(f"score_{part.name}" for part in fields(Parts))


@dataclass(frozen=True)
class ScoreRule:
    """score = reconstruction + kl_weight * kl + neighbour_weight * neighbour.

    With both weights 0 the score is the reconstruction part alone (An & Cho, 2015).

    Attributes:
        unseen: nats that each unseen value adds to the reconstruction part; of windows, nats that
            it adds if any record of the window has one.
        neighbour_weight: nats per unit of distance to the nearest kept fit record, chosen so that
            this part spreads like the others.
        newest: of windows, nats that each unseen value of the newest record adds besides.
    """

    unseen: float
    kl_weight: float = 1.0
    neighbour_weight: float = 0.0
    newest: float = 0.0

    @cached_property
    def _weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As arrays, or NumPy would convert them for each product."""
        return np.array(self.kl_weight, np.float32), np.array(self.neighbour_weight, np.float32)

    def total(self, forward: Forward, features: Features) -> NDArray[np.float64]:
        """Return the scores of N records, (N,)."""
        kl_weight, neighbour_weight = self._weights
        beside = kl_weight * forward.kl + neighbour_weight * forward.neighbour
        score = (forward.reconstruction + beside).astype(np.float64)
        if features.any_unseen:
            score += self._unseen_nats(features)
        return score

    def parts(self, forward: Forward, features: Features) -> list[Parts]:
        """Return the parts of each record's score."""
        return list(map(Parts, *(part.tolist() for part in self.weighted(forward, features))))

    def weighted(self, forward: Forward, features: Features) -> tuple[Floats, Floats, Floats]:
        """Return the three parts of N scores, each (N,)."""
        return (
            forward.reconstruction + self._unseen_nats(features),
            self.kl_weight * forward.kl,
            self.neighbour_weight * forward.neighbour,
        )

    def _unseen_nats(self, features: Features) -> NDArray[np.float64]:
        """Return the nats of unseen values, (N,)."""
        nats = self.unseen * features.unseen.sum(1)
        if features.newest is not None:
            nats = nats + self.newest * features.newest
        return np.asarray(nats)


def score_features(network: Network, rule: ScoreRule, features: Features) -> NDArray[np.float64]:
    """Return the scores of any number of records, (N,)."""
    return rule.total(network.forward(features.values), features)
