"""the parts of a score -> the score: one number in nats, higher is more anomalous."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from scoring.network import Forward


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

    `neighbour_weight` (nats per unit of distance) gives the distance to the nearest fit record the
    spread of the other parts; 0 for a reconstruction-only score (An & Cho, 2015).
    """

    kl_weight: float = 1.0
    neighbour_weight: float = 0.0

    def total(self, forward: Forward) -> NDArray[np.float64]:
        """(N,) scores."""
        reconstruction, kl, neighbour = self._weighted(forward)
        return reconstruction + kl + neighbour

    def parts(self, forward: Forward) -> list[Parts]:
        """One for each record."""
        return list(map(Parts, *(part.tolist() for part in self._weighted(forward))))

    def _weighted(self, forward: Forward) -> tuple[NDArray[np.float64], ...]:
        return (
            forward.reconstruction.astype(np.float64),
            np.asarray(self.kl_weight * forward.kl, np.float64),
            np.asarray(self.neighbour_weight * forward.neighbour, np.float64),
        )
