"""Fitted -> OutOfBag: what each fit record costs the member that did not see it.

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
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.vae.fit import Fitted

CHUNK = 4096


@dataclass(frozen=True)
class OutOfBag:
    """Residuals and KL of N fit records, from the member that did not see each.

    residuals: (N, D), standardised, at z = mu. kl: (N,) nats, at unit variance. folds: (N,).
    """

    residuals: NDArray[np.float32]
    kl: NDArray[np.float64]
    folds: NDArray[np.int64]

    def precision(self) -> Precision:
        """Fit the precision to all folds together: the one that is served."""
        return fit_precision(self.residuals)

    def reconstruction(self, rules: Rules) -> NDArray[np.float64]:
        """Return what the residuals cost, (N,) nats, each fold by the precision of the others."""
        out = np.empty(len(self.residuals))
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            precision = fit_precision(self.residuals[~inside])
            out[inside] = rules.cost(self.residuals[inside], precision)
        return out


@torch.no_grad()
def out_of_bag(
    fitted: Fitted, x: NDArray[np.float32], rows: NDArray[np.int64], *, kl: bool
) -> OutOfBag:
    """Return residuals and KL of the given `rows` of x, (N, D); the KL of an autoencoder is 0."""
    judge = fitted.folds.judge[rows]
    residuals = np.empty((len(rows), x.shape[1]), dtype=np.float32)
    divergence = np.zeros(len(rows))
    for member in np.unique(judge):
        alone, mine = fitted.vae.only([int(member)]), np.flatnonzero(judge == member)
        for start in range(0, len(mine), CHUNK):
            at = mine[start : start + CHUNK]
            chunk = torch.from_numpy(x[rows[at]]).unsqueeze(0)
            posterior = alone.encode(chunk)
            residuals[at] = (chunk - alone.decode(posterior.mu).mean)[0].numpy()
            if kl:
                divergence[at] = posterior.unit_kl()[0].double().numpy()
    return OutOfBag(residuals, divergence, fitted.folds.of[rows])
