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
from vaewatch.training.calibration.neighbours import neighbour_weight, part_for
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

    def join(self, other: OutOfBag) -> OutOfBag:
        """Return these records followed by the other's."""
        return OutOfBag(
            np.concatenate([self.residuals, other.residuals]),
            np.concatenate([self.kl, other.kl]),
            np.concatenate([self.folds, other.folds]),
        )

    def precision(self) -> Precision:
        """Fit the precision to all folds together: the one that is served."""
        return fit_precision(self.residuals)

    def reconstruction(self, rules: Rules) -> NDArray[np.float64]:
        """Return what the residuals cost, (N,) nats, each fold by the precision of the others, or
        its own if there are none.
        """
        out = np.empty(len(self.residuals))
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            others = inside if inside.all() else ~inside
            precision = fit_precision(self.residuals[others])
            out[inside] = rules.cost(self.residuals[inside], precision)
        return out


def out_of_bag(
    fitted: Fitted, x: NDArray[np.float32], rows: NDArray[np.int64], *, kl: bool
) -> OutOfBag:
    """Return residuals and KL of the given `rows` of x, (N, D); the KL of an autoencoder is 0."""
    return judged_by_folds(fitted, x[rows], fitted.folds.of[rows], kl=kl)


@torch.no_grad()
def judged_by_folds(
    fitted: Fitted, x: NDArray[np.float32], folds: NDArray[np.int64], *, kl: bool
) -> OutOfBag:
    """Return residuals and KL of (N, D) features from the members that leave out the given folds,
    (N,); x may be of records that no member saw.
    """
    judge = fitted.folds.judges[folds]
    residuals = np.empty(x.shape, dtype=np.float32)
    divergence = np.zeros(len(x))
    for member in np.unique(judge):
        alone, mine = fitted.vae.only([int(member)]), np.flatnonzero(judge == member)
        for start in range(0, len(mine), CHUNK):
            at = mine[start : start + CHUNK]
            chunk = torch.from_numpy(x[at]).unsqueeze(0)
            posterior = alone.encode(chunk)
            residuals[at] = (chunk - alone.decode(posterior.mu).mean)[0].numpy()
            if kl:
                divergence[at] = posterior.unit_kl()[0].double().numpy()
    return OutOfBag(residuals, divergence, folds)


def parts_of_scores(
    oob: OutOfBag, distance: NDArray[np.float64] | None, rules: Rules, score: str
) -> tuple[float, NDArray[np.float64]]:
    """Return what the neighbour part weighs, and the (N, 3) parts of out-of-bag scores.

    Args:
        distance: (N,) to the kept records; None if there are none. score: that is asked for.
    """
    reconstruction = oob.reconstruction(rules)
    nothing = np.zeros_like(reconstruction)
    if score == "reconstruction":
        return 0.0, np.column_stack([reconstruction, nothing, nothing])
    if distance is None:
        return 0.0, np.column_stack([reconstruction, oob.kl, nothing])
    share = part_for(oob.residuals.shape[1]).share
    weight = neighbour_weight(reconstruction + oob.kl, distance, share)
    return weight, np.column_stack([reconstruction, oob.kl, weight * distance])
