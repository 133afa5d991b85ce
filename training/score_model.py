"""features -> the parts of the score, in torch: what the exported graph must agree with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scoring.network import Forward
from training.covariance import Precision
from training.vae import VAE


@dataclass(frozen=True)
class ScoreModel:
    """All that the graph holds.

    bank: (K, D) fit records. column_of: (D,) each feature's column, of C. novelty: nats of a
    first-time event. served: how many of the members are averaged. kl: whether the code is a
    distribution.
    """

    vae: VAE
    precision: Precision
    bank: NDArray[np.float32]
    column_of: NDArray[np.int64]
    columns: int
    novelty: float
    served: int
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
        means = self.vae.decode(posterior.mu).mean[: self.served].double().numpy()
        residuals = x - means  # (S, N, D)
        by_feature = 0.5 * (residuals * self.precision.apply(residuals)).mean(0)
        contributions = by_feature @ self.column_map + self.novelty * first_time
        kl = posterior.kl()[: self.served].double().mean(0).numpy()
        return Forward(
            reconstruction=contributions.sum(1),
            kl=kl if self.kl else np.zeros_like(kl),
            neighbour=self._neighbour(x.astype(np.float64)),
            contributions=contributions,
            reconstructed=means.mean(0),
        )

    def _neighbour(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if not len(self.bank):
            return np.zeros(len(x))
        squared = (self.bank.astype(np.float64) ** 2).sum(1) - 2 * x @ self.bank.T
        return np.asarray(np.linalg.norm(x - self.bank[squared.argmin(1)], axis=1))
