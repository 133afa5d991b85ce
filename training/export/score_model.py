"""features -> the parts of the score, in torch: what the exported graph must agree with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.network import Forward
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.calibration.rules import Caps
from vaewatch.training.odd.columns import ColumnView
from vaewatch.training.vae.vae import VAE, Posterior


@dataclass(frozen=True)
class ScoreModel:
    """All that the graph computes.

    vae: the members whose scores are averaged. kl: whether the code is a distribution. columns:
    the view of single columns, if there is one. neighbour_weight: nats per unit of distance, as
    the rule of the score has it.
    """

    vae: VAE
    precision: Precision
    caps: Caps
    bank: Bank
    kl: bool
    columns: ColumnView | None = None
    neighbour_weight: float = 0.0

    def forward(self, x: NDArray[np.float32]) -> Forward:
        """(N, D) features -> the parts of N scores, in float64 where torch gives a choice."""
        return self.lifted(self.plain(x))

    def lifted(self, plain: Forward) -> Forward:
        """Raise the reconstruction parts of N scores by what these are at least for one column,
        given their whitened residuals.
        """
        if self.columns is None or plain.whitened is None:
            return plain
        beside = plain.kl + self.neighbour_weight * plain.neighbour
        least = self.columns.least(plain.whitened.swapaxes(0, 1)) - beside
        return replace(plain, reconstruction=np.maximum(plain.reconstruction, least))

    @torch.no_grad()
    def plain(self, x: NDArray[np.float32]) -> Forward:
        """(N, D) features -> the parts of N scores without the view of single columns."""
        kl = self._encode(x).unit_kl().double().mean(0).numpy()
        residuals = self._residuals(x)
        cut = self.precision.whiten(self.caps.cut(residuals))
        return Forward(
            reconstruction=0.5 * (cut**2).sum(-1).mean(0),
            kl=kl if self.kl else np.zeros_like(kl),
            neighbour=self.bank.distance(x) if len(self.bank) else np.zeros(len(x)),
            whitened=self.precision.whiten(residuals).swapaxes(0, 1),
        )

    @torch.no_grad()
    def whitened(self, x: NDArray[np.float32]) -> Floats:
        """(N, D) features -> (S, N, D): the whitened residuals of each of S members."""
        return self.precision.whiten(self._residuals(x))

    def _residuals(self, x: NDArray[np.float32]) -> Floats:
        """(N, D) features -> (S, N, D): the residuals of each of S members."""
        return np.asarray(x - self.vae.decode(self._encode(x).mu).mean.double().numpy())

    def _encode(self, x: NDArray[np.float32]) -> Posterior:
        return self.vae.encode(torch.from_numpy(x).expand(self.vae.members, -1, -1))
