"""features -> the parts of the score, in torch: what the exported graph must agree with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.network import Forward
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.calibration.rules import Caps
from vaewatch.training.vae.vae import VAE, Posterior


@dataclass(frozen=True)
class ScoreModel:
    """All that the graph computes.

    vae: the members whose scores are averaged. kl: whether the code is a distribution.
    """

    vae: VAE
    precision: Precision
    caps: Caps
    bank: Bank
    kl: bool

    @torch.no_grad()
    def forward(self, x: NDArray[np.float32]) -> Forward:
        """(N, D) features -> the parts of N scores, in float64 where torch gives a choice."""
        kl = self._encode(x).unit_kl().double().mean(0).numpy()
        residuals = self._residuals(x)
        cut = self.precision.whiten(self.caps.cut(residuals))
        return Forward(
            reconstruction=0.5 * (cut**2).sum(-1).mean(0),
            kl=kl if self.kl else np.zeros_like(kl),
            neighbour=self.bank.distance(x) if len(self.bank) else np.zeros(len(x)),
            whitened=self.precision.whiten(residuals).swapaxes(0, 1),
        )

    def _residuals(self, x: NDArray[np.float32]) -> Floats:
        """(N, D) features -> (S, N, D): the residuals of each of S members."""
        return np.asarray(x - self.vae.decode(self._encode(x).mu).mean.double().numpy())

    def _encode(self, x: NDArray[np.float32]) -> Posterior:
        return self.vae.encode(torch.from_numpy(x).expand(self.vae.members, -1, -1))
