"""stack, fit records -> its ELBO now, on records that the members saw and on those they did not.

The loss of a batch is noisy and in bag. The probe shows the same few records with the same noise
to every member each time, so the gap between its two curves is what the members learned by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaewatch.training.config import TrainConfig
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.elbo import autoencoder_loss, elbo
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.vae import VAE

RECORDS = 256


@dataclass(frozen=True)
class Probe:
    """P fit records. x, noisy: (M, P, D). eps: (M, P, L).

    inside, outside: the places, of (M, P) in a row, of what a member saw and of what it did not.
    """

    x: Tensor
    noisy: Tensor
    eps: Tensor
    inside: Tensor
    outside: Tensor
    autoencoder: bool

    @classmethod
    def of(
        cls,
        x: NDArray[np.float32],
        folds: Folds,
        noise: Tensor,
        vae: VAE,
        config: TrainConfig,
    ) -> Probe:
        """Draw the probe from a generator of its own, so that it does not change the steps."""
        rng = stream(config.seed, Stream.PROBE)
        rows = np.sort(rng.permutation(len(x))[:RECORDS])
        generator = torch.Generator().manual_seed(config.seed)
        shown = torch.from_numpy(x[rows]).expand(vae.members, -1, -1).to(noise.device)
        draws = torch.randn(shown.shape, generator=generator).to(noise.device)
        eps = torch.randn((*shown.shape[:2], vae.latent), generator=generator).to(noise.device)
        skipped = folds.judge[rows] == np.arange(vae.members)[:, None]
        inside, outside = (
            torch.from_numpy(np.flatnonzero(chosen)).to(noise.device)
            for chosen in (~skipped, skipped)
        )
        return cls(shown, shown + noise * draws, eps, inside, outside, config.model == "ae")

    @torch.no_grad()
    def look(self, vae: VAE) -> Tensor:
        """Return the figures of `Probed` in `vaewatch.training.progress`, (4,), on the device."""
        if self.autoencoder:
            terms = autoencoder_loss(vae, self.x, self.noisy)
        else:
            terms = elbo(vae, self.x, self.noisy, self.eps)
        parts = torch.stack([terms.reconstruction_nll, terms.kl]).double().flatten(1)
        return torch.cat(
            [parts.index_select(1, places).mean(1) for places in (self.inside, self.outside)]
        )
