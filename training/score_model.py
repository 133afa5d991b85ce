"""features -> the parts of the score, in torch: what the exported graph must agree with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scoring.network import Forward
from training.covariance import Precision
from training.neighbours import Bank
from training.vae import VAE


def served_members(members: int, served: int) -> list[int]:
    """Which of the trained members score: evenly spread ones, as neighbours leave the same fold
    out. Of 4 of 8 that are, three saw any fit record; of the first 4, two to four.
    """
    return [i * members // served for i in range(served)]


@dataclass(frozen=True)
class ScoreModel:
    """All that the graph holds.

    vae: the members that are averaged. column_of: (D,) each feature's column, of C. novelty: nats
    of a first-time event. kl: whether the code is a distribution.
    """

    vae: VAE
    precision: Precision
    bank: Bank
    column_of: NDArray[np.int64]
    columns: int
    novelty: float
    kl: bool

    @property
    def column_map(self) -> NDArray[np.float32]:
        """(D, C): 1 where a feature belongs to a column."""
        return np.eye(self.columns, dtype=np.float32)[self.column_of]

    @torch.no_grad()
    def forward(self, features: NDArray[np.float32]) -> Forward:
        """(N, D + C) -> the parts of N scores, in float64 where torch gives a choice."""
        d = len(self.column_of)
        x, first_time = features[:, :d], features[:, d:]
        posterior = self.vae.encode(torch.from_numpy(x).expand(self.vae.members, -1, -1))
        means = self.vae.decode(posterior.mu).mean.double().numpy()
        residuals = x - means  # (S, N, D)
        by_feature = 0.5 * (residuals * self.precision.apply(residuals)).mean(0)
        contributions = by_feature @ self.column_map + self.novelty * first_time
        kl = posterior.kl().double().mean(0).numpy()
        return Forward(
            reconstruction=contributions.sum(1),
            kl=kl if self.kl else np.zeros_like(kl),
            neighbour=self.bank.nearest_distance(x) if len(self.bank) else np.zeros(len(x)),
            contributions=contributions,
            reconstructed=means.mean(0),
        )
