"""Fitted -> OutOfBag: what each fit record costs the members that did not see it.

Member k never sees folds k and k + 1, so a record of fold f is out of bag in members f and f - 1.
The precision that scores a fold is fitted to the residuals of the other folds: with a pooled one,
small data raised twice as many alarms as asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.precision import Precision
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.vae.fit import Fitted

CHUNK = 4096


@dataclass(frozen=True)
class OutOfBag:
    """Residuals and KL of N fit records, from the two members that did not see each.

    residuals: (N, 2, D), standardised, at z = mu. kl: (N,) nats, the mean of the two members, at
    unit variance. folds: (N,).
    """

    residuals: NDArray[np.float32]
    kl: NDArray[np.float64]
    folds: NDArray[np.int64]

    def precision(self) -> Precision:
        """Fit the precision to all folds together: the one that is served."""
        return fit_precision(
            self.residuals.reshape(-1, self.residuals.shape[2]), len(self.residuals)
        )

    def reconstruction(self) -> NDArray[np.float64]:
        """Return 1/2 r' Sigma^-1 r, (N,) nats, each fold with the precision of the others."""
        out = np.empty(len(self.residuals))
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            others = self.residuals[~inside]
            precision = fit_precision(others.reshape(-1, others.shape[2]), len(others))
            r = self.residuals[inside].astype(np.float64)
            out[inside] = 0.5 * (precision.whiten(r) ** 2).sum(-1).mean(1)
        return out


@torch.no_grad()
def out_of_bag(
    fitted: Fitted, x: NDArray[np.float32], rows: NDArray[np.int64], *, kl: bool
) -> OutOfBag:
    """Return residuals and KL of the given `rows` of x, (N, D); the KL of an autoencoder is 0."""
    vae, folds = fitted.vae, fitted.folds[rows]
    device = next(vae.parameters()).device
    residuals = np.empty((len(rows), 2, x.shape[1]), dtype=np.float32)
    divergence = np.zeros(len(rows))
    order = np.argsort(folds, kind="stable")
    for start in range(0, len(rows), CHUNK):
        at = order[start : start + CHUNK]
        chunk = torch.from_numpy(x[rows[at]]).to(device)
        posterior = vae.encode(chunk.expand(vae.members, -1, -1))
        r = (chunk - vae.decode(posterior.mu).mean).cpu().numpy()
        k = posterior.unit_kl().double().cpu().numpy()
        for slot in (0, 1):
            member = (folds[at] - slot) % vae.members
            residuals[at, slot] = r[member, np.arange(len(at))]
            if kl:
                divergence[at] += 0.5 * k[member, np.arange(len(at))]
    return OutOfBag(residuals, divergence, folds)
