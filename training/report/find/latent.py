"""VAE, features -> Latent: where posteriors lie, which units are active, and what they do."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import Column
from vaewatch.training.records.profile import clip
from vaewatch.training.report.findings import ACTIVE, Latent, Unit
from vaewatch.training.vae.vae import VAE

REACH = 2.0  # prior deviations to either side of a traversal
UNITS = 8  # that are traversed, those with the largest variance
MOVED = 5  # columns named for each

Floats = NDArray[np.float64]


@torch.no_grad()
def look_at_latent(
    vae: VAE, x: NDArray[np.float32], vectorizer: Vectorizer, *, kl: bool
) -> Latent:
    """Look at the latent space through (N, D) features of fit records."""
    posterior = vae.encode(torch.from_numpy(x).expand(vae.members, -1, -1))
    mu = posterior.mu.double().numpy()  # (M, N, L)
    variance = mu.var(1)
    order = np.argsort(-variance[0], kind="stable")
    divergence = 0.5 * (posterior.mu[0] ** 2 + posterior.logvar[0].exp() - 1 - posterior.logvar[0])
    rest, scale = (0.0, 1.0) if kl else (mu[0].mean(0), mu[0].std(0))
    ends = _traverse(vae, order[:UNITS], np.broadcast_to(rest, vae.latent), scale)
    effect = _by_column(ends, vectorizer)
    units = tuple(
        Unit(
            int(u),
            float(variance[0, u]),
            float(divergence[:, u].mean()) if kl else 0.0,
            _moved(end, moves, vectorizer),
        )
        for u, end, moves in zip(order[:UNITS], ends, effect, strict=True)
    )
    return Latent(
        means=_rotate(mu[0]),
        active=tuple(int(n) for n in (variance > ACTIVE).sum(1)),
        of=vae.latent,
        variances=variance[0, order],
        units=units,
        effect=effect,
    )


def _rotate(mu: Floats) -> Floats:
    """(N, L) -> (N, 2): an orthogonal projection, not centred; signs are fixed."""
    if mu.shape[1] == 1:
        return np.hstack([mu, np.zeros_like(mu)])
    directions = np.linalg.svd(mu - mu.mean(0), full_matrices=False)[2][:2]
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
    return np.asarray(mu @ (directions * signs[:, None]).T)


def _traverse(
    vae: VAE, units: NDArray[np.int64], rest: Floats, scale: Floats | float
) -> NDArray[np.float32]:
    """Return (units, 2, D): what the first member decodes with one unit at either end."""
    z = np.tile(rest, (len(units), 2, 1))
    width = np.broadcast_to(scale, rest.shape)[units]
    z[np.arange(len(units)), :, units] += REACH * width[:, None] * np.array([-1.0, 1.0])
    flat = torch.from_numpy(z.reshape(1, -1, vae.latent).astype(np.float32))
    decoded = vae.decode(flat.expand(vae.members, -1, -1)).mean[0]
    return np.asarray(decoded.numpy().reshape(len(units), 2, -1))


def _by_column(ends: NDArray[np.float32], vectorizer: Vectorizer) -> Floats:
    """(units, 2, D) -> (units, columns): the largest change among the features of a column."""
    change = (ends[:, 1] - ends[:, 0]).astype(np.float64)
    out = np.zeros((len(change), len(vectorizer.schema.columns)))
    for column in range(out.shape[1]):
        own = change[:, vectorizer.column_of == column]
        if own.shape[1]:
            out[:, column] = own[np.arange(len(own)), np.abs(own).argmax(1)]
    return out


def _moved(
    ends: NDArray[np.float32], effect: Floats, vectorizer: Vectorizer
) -> tuple[tuple[str, str, str], ...]:
    top = np.argsort(-np.abs(effect), kind="stable")[:MOVED]
    columns = [vectorizer.schema.columns[i] for i in top if effect[i]]
    low, high = ends
    return tuple(
        (c.name, _expected(vectorizer, low, c), _expected(vectorizer, high, c)) for c in columns
    )


def _expected(vectorizer: Vectorizer, features: NDArray[np.float32], column: Column) -> str:
    value = vectorizer.expected(vectorizer.raw(features), column)
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, (int, float)) else clip(value)
