"""Fitted -> OutOfBag: what each fit record costs the member that did not see it.

The precision that scores a fold is fitted to the residuals of the other folds: with a pooled one,
small data raised twice as many alarms as asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.precision import Precision
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.neighbours import neighbour_weight, part_for
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.vae.fit import Fitted
from vaewatch.training.vae.vae import VAE

CHUNK = 4096
LOOKED_AT = 4096  # fit records that show how a member errs


@dataclass(frozen=True)
class OutOfBag:
    """Residuals and KL of N fit records, from the member that did not see each.

    residuals: (N, D), standardised, at z = mu. kl: (N,) nats, at unit variance. folds: (N,).
    """

    residuals: NDArray[np.float32]
    kl: NDArray[np.float64]
    folds: NDArray[np.int64]

    def precision(self, least: NDArray[np.float64] | None = None) -> Precision:
        """Fit the precision to all folds together; see `fit_precision`."""
        return fit_precision(self.residuals, least)

    def reconstruction(self, rules: Rules, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the residuals cost, (N,) nats, each fold by the precision of the others, or
        its own if there are none.

        Args:
            errors: (F, D) see `errors_of_judges`.
        """
        out = np.empty(len(self.residuals))
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            others = inside if inside.all() else ~inside
            precision = fit_precision(self.residuals[others], errors[fold])
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


@torch.no_grad()
def errors_of(
    members: VAE, x: NDArray[np.float32], rows: NDArray[np.int64], rules: Rules
) -> NDArray[np.float64]:
    """Return the second moments of how members err in the events of records that they saw, (D,), 0
    for numbers. `rows`: of these among (N, D) features; some are looked at.

    Each member learns some of many events and gives up others. What the other members learned
    would cost it as much as an unseen value, if their errors alone said what is usual.
    """
    some = torch.from_numpy(x[rows[:: math.ceil(len(rows) / LOOKED_AT)]])
    posterior = members.encode(some.expand(members.members, -1, -1))
    residuals = some - members.decode(posterior.mu).mean
    moments = residuals.double().square().mean((0, 1)).numpy()
    return np.where(rules.steps > 0, moments, 0.0)


def errors_of_judges(fitted: Fitted, x: NDArray[np.float32], rules: Rules) -> NDArray[np.float64]:
    """Return the errors of the member that judges each fold, (F, D); see `errors_of`."""
    seen = fitted.folds.seen()
    return np.array(
        [errors_of(fitted.vae.only([m]), x, seen[m], rules) for m in fitted.folds.judges.tolist()]
    )


def parts_of_scores(
    oob: OutOfBag,
    distance: NDArray[np.float64] | None,
    rules: Rules,
    score: str,
    errors: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return what the neighbour part weighs, and the (N, 3) parts of out-of-bag scores.

    Args:
        distance: (N,) to the kept records; None if there are none. score: that is asked for.
        errors: (F, D) see `errors_of_judges`.
    """
    reconstruction = oob.reconstruction(rules, errors)
    nothing = np.zeros_like(reconstruction)
    if score == "reconstruction":
        return 0.0, np.column_stack([reconstruction, nothing, nothing])
    if distance is None:
        return 0.0, np.column_stack([reconstruction, oob.kl, nothing])
    share = part_for(oob.residuals.shape[1]).share
    weight = neighbour_weight(reconstruction + oob.kl, distance, share)
    return weight, np.column_stack([reconstruction, oob.kl, weight * distance])
