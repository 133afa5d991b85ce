"""features -> the parts of the score, in torch: what the exported graph must agree with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.network import Forward
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.vae.vae import VAE, Posterior


@dataclass(frozen=True)
class ScoreModel:
    """All that the graph computes.

    vae: the members whose scores are averaged. kl: whether the code is a distribution.
    """

    vae: VAE
    precision: Precision
    bank: Bank
    kl: bool

    @torch.no_grad()
    def forward(self, x: NDArray[np.float32]) -> Forward:
        """(N, D) features -> the parts of N scores, in float64 where torch gives a choice."""
        kl = self._encode(x).unit_kl().double().mean(0).numpy()
        whitened = self.whitened(x)
        return Forward(
            reconstruction=0.5 * (whitened**2).sum(-1).mean(1),
            kl=kl if self.kl else np.zeros_like(kl),
            neighbour=self.bank.distance(x) if len(self.bank) else np.zeros(len(x)),
            whitened=whitened,
        )

    @torch.no_grad()
    def whitened(self, x: NDArray[np.float32]) -> Floats:
        """(N, D) features -> (N, S, D): the whitened residuals of each of S members."""
        means = self.vae.decode(self._encode(x).mu).mean.double().numpy()
        return self.precision.whiten(x - means).swapaxes(0, 1)

    def _encode(self, x: NDArray[np.float32]) -> Posterior:
        return self.vae.encode(torch.from_numpy(x).expand(self.vae.members, -1, -1))
