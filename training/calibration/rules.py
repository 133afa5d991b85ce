"""events that always followed from other columns -> the most that breaking such a rule may cost.

The residuals of an event that the network never failed to foretell are tiny, so one record in
which it fails would cost a hundred thousand nats. But n records in which a rule held do not show
that it always will: by Laplace's rule of succession a break deserves no more than an unseen value,
about n / 2 nats. So the residual of an event is cut where it costs that much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import Feature
from vaewatch.scoring.features.vectorizer import unseen_nats
from vaewatch.scoring.precision import Floats, Precision


@dataclass(frozen=True)
class Caps:
    """The residuals that are cut: those of E of D features.

    at: (E,) indices of the features. most: (E,) the largest residual, to either side.
    """

    at: NDArray[np.int64]
    most: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)

    def cut(self, residuals: Floats) -> Floats:
        """Return residuals, (..., D), none of them beyond its cap."""
        cut = residuals.copy()
        cut[..., self.at] = np.clip(residuals[..., self.at], -self.most, self.most)
        return cut


@dataclass(frozen=True)
class Rules:
    """What breaking a rule may cost.

    steps: (D,) by how much each event moves its feature; 0 for numbers, and for what never varied.
    nats: the most that breaking a rule costs on its own. single: (S,) indices of the events that
    one fit record has.
    """

    steps: NDArray[np.float64]
    nats: float
    single: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def of(cls, features: Sequence[Feature], n: int) -> Rules:
        """Return the rules of these features in n fit records."""
        varies = [f.is_event and 0 < f.mean < 1 for f in features]
        steps = np.where(varies, [1 / f.deviation for f in features], 0.0)
        single = [v and round(f.mean * n) == 1 for v, f in zip(varies, features, strict=True)]
        return cls(steps, unseen_nats(n), np.flatnonzero(single))

    def unseen(self, x: NDArray[np.float32], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many events of fit records, (N, D), no other one has, and as many `numbers`
        of each, (N,), as all others would make unseen: (N,). Out of bag, these are unseen: records
        that bring a new one must find their like among those that calibrate.
        """
        return np.asarray((x[:, self.single] > 0).sum(1) + numbers)

    def of_unseen(
        self, scores: NDArray[np.float64], brought: Callable[[], NDArray[np.int64]]
    ) -> float:
        """Return the nats that an unseen value adds to a score: a usual record that has one scores
        as much as any fit record without. Few records teach a network so little that what it could
        not foretell may cost far more than `nats`.

        Args:
            scores: (N,) of fit records, out of bag.
            brought: gives what each brought, see `unseen`.
        """
        usual = float(np.median(scores))
        if not (scores > usual + self.nats).any():
            return self.nats
        return max(self.nats, float(scores[brought() == 0].max(initial=0.0)) - usual)

    def caps(self, precision: Precision) -> Caps:
        """Return the caps of the events that could cost more by this precision."""
        every = np.arange(len(self.steps))
        most = np.sqrt(2 * self.nats / precision.entries(every, every))
        at = np.flatnonzero(self.steps > most)
        return Caps(at, most[at].astype(np.float64))

    def cost(self, residuals: Floats, precision: Precision) -> NDArray[np.float64]:
        """Return 1/2 r' Sigma^-1 r of residuals, (N, D), each cut at its cap: (N,) nats."""
        cut = self.caps(precision).cut(residuals.astype(np.float64))
        return np.asarray(0.5 * (precision.whiten(cut) ** 2).sum(-1))
