"""Fitted -> Fitted: a member that lags does not serve.

In tables of few columns one member in some dozens ends in another optimum, with residuals twice as
large as those of the others. In the mean of the served members it would outweigh them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.training.vae.fit import Fitted

LAGS = 1.5  # times the median member's residuals
TAIL = 0.95  # quantile over records at which residuals are compared
LOOKED_AT = 2048  # fit records, evenly spread


def without_laggards(fitted: Fitted, x: NDArray[np.float32]) -> Fitted:
    """Let the best judges change places with members that would serve, but lag.

    What calibrates is seen by neither. x: (N, D) fit records.
    """
    lengths = residual_lengths(fitted, x[:: max(1, len(x) // LOOKED_AT)])
    most = LAGS * float(np.median(lengths))
    serving = fitted.folds.serving
    judges = sorted(set(range(fitted.vae.members)) - set(serving), key=lambda m: lengths[m])
    lagging = [member for member in serving if lengths[member] > most]
    for member, judge in zip(lagging, judges, strict=False):
        if lengths[judge] <= most:
            fitted = _exchange(fitted, member, judge)
    return fitted


@torch.no_grad()
def residual_lengths(fitted: Fitted, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, D) -> (M,): a high quantile of each member's squared residuals."""
    records = torch.from_numpy(x)
    posterior = fitted.vae.encode(records.expand(fitted.vae.members, -1, -1))
    residuals = records - fitted.vae.decode(posterior.mu).mean
    squared = residuals.double().square().sum(-1).numpy()
    return np.asarray(np.quantile(squared, TAIL, axis=1))


def _exchange(fitted: Fitted, a: int, b: int) -> Fitted:
    order = list(range(fitted.vae.members))
    order[a], order[b] = b, a
    return replace(fitted, vae=fitted.vae.only(order), folds=fitted.folds.exchanged(a, b))
