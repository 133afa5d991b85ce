"""VAE, normal records -> Bounds: two lower bounds of log p(x)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.training.export.weights import load_vae
from vaewatch.training.vae.elbo import importance_weighted_bound, log_importance_weights
from vaewatch.training.vae.threads import computing_on
from vaewatch.training.vae.vae import VAE

MOST_RECORDS = 1000  # that the means are over; more would only cost time
CHUNK = 250


@dataclass(frozen=True)
class Bounds:
    """Means over records and members, in nats per record of standardised features.

    elbo <= importance_weighted <= log p(x), in expectation; the gap between the two is what the
    posterior's shape leaves out (Burda et al., 2016).
    """

    elbo: float
    importance_weighted: float
    draws: int
    records: int


def bounds_of_artifact(path: Path, draws: int) -> Callable[[NDArray[np.float32]], Bounds] | None:
    """Return a function from (N, D) features to their bounds.

    An autoencoder has no p(x): None.
    """
    if read_manifest(path).training.model != "vae":
        return None
    vae = load_vae(path)
    return lambda x: bounds_of(vae, x, draws)


def bounds_of(vae: VAE, x: NDArray[np.float32], draws: int) -> Bounds:
    """Return both bounds of (N, D) standardised features, from the same `draws` of z for each."""
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_RECORDS])
    generator = torch.Generator().manual_seed(0)
    elbos, bounds = [], []
    with computing_on(1):
        for start in range(0, len(rows), CHUNK):
            chunk = torch.from_numpy(x[rows[start : start + CHUNK]]).expand(vae.members, -1, -1)
            weights = log_importance_weights(vae, chunk, draws, generator).double()
            elbos.append(weights.mean(0))
            bounds.append(importance_weighted_bound(weights))
    return Bounds(_mean(elbos), _mean(bounds), draws, len(rows))


def _mean(chunks: list[torch.Tensor]) -> float:
    return float(torch.cat(chunks, dim=1).mean())
