"""artifact -> records: z from the prior, through the decoder, back to the columns' own units.

A sample shows what the VAE takes for normal, and which values go together. A number is its
column's quantile at the rank of its draw (see `vaewatch.training.marginals`). An event is drawn
with the probability that its indicator gives it. Corners of the data that the prior seldom reaches
are rare here, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from vaewatch.scoring.artifact import read_artifact
from vaewatch.scoring.features import Vectorizer
from vaewatch.scoring.schema import Column, Kind, code_name, missing_code
from vaewatch.training.config import whole_number
from vaewatch.training.export.weights import load_served
from vaewatch.training.marginals import Marginals, load_marginals
from vaewatch.training.vae.threads import computing_on
from vaewatch.training.vae.vae import VAE

Floats = NDArray[np.float64]
RANKED = 4096  # draws at least, so that their ranks are close to those of a large sample
TYPES = {Kind.BOOLEAN: pl.Boolean, Kind.CATEGORICAL: pl.String}


@dataclass(frozen=True)
class Decoded:
    """(N, D) standardised features: `mean` of p(x|z), and one `draw` from it."""

    mean: Floats
    draw: Floats


def sample(path: Path, n: int, seed: int = 0) -> pl.DataFrame:
    """Draw n records of an artifact's schema, each from a served member that is drawn at random.

    Raises:
        SettingError: n or the seed is not what it must be.
        ArtifactError: the artifact lacks its weights or marginals.
    """
    n, seed = whole_number("n", n, least=1), whole_number("seed", seed, least=0)
    artifact = read_artifact(path)
    with computing_on(1):
        decoded = decode_prior(load_served(path), max(n, RANKED), seed)
    rng = np.random.default_rng(seed)
    return records_of(artifact.vectorizer, load_marginals(path), decoded, rng).head(n)


def decode_prior(vae: VAE, n: int, seed: int) -> Decoded:
    """Decode n draws z ~ N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, vae.latent, generator=generator)
    return decode(vae, z.expand(vae.members, -1, -1), generator)


@torch.no_grad()
def decode(vae: VAE, z: torch.Tensor, generator: torch.Generator) -> Decoded:
    """Decode z, (M, N, L), into N standardised records, each by one member drawn at random."""
    member = torch.randint(vae.members, (z.shape[1],), generator=generator)
    law = vae.decode(z)
    draw = law.sample(torch.randn(law.mean.shape, generator=generator))
    at = (member, torch.arange(z.shape[1]))
    return Decoded(law.mean[at].double().numpy(), draw[at].double().numpy())


def records_of(
    vectorizer: Vectorizer, marginals: Marginals, decoded: Decoded, rng: np.random.Generator
) -> pl.DataFrame:
    """Turn N decoded records into columns in their own units."""
    mean = np.array([f.mean for f in vectorizer.features])
    deviation = np.array([f.deviation for f in vectorizer.features])
    raw = Decoded(decoded.mean * deviation + mean, decoded.draw)
    columns = vectorizer.schema.columns
    return pl.DataFrame([_column(vectorizer, marginals, c, raw, rng) for c in columns])


def _column(
    vectorizer: Vectorizer,
    marginals: Marginals,
    column: Column,
    raw: Decoded,
    rng: np.random.Generator,
) -> pl.Series:
    at = {f.code: i for i, f in enumerate(vectorizer.features) if f.column == column.name}
    constant = vectorizer.constants.get(column.name)
    n = len(raw.mean)
    if column.kind is not Kind.NUMERIC:
        if constant is not None:
            codes = np.full(n, int(constant))
        else:
            codes = _draw_events({c: raw.mean[:, i] for c, i in at.items() if c is not None}, rng)
        return pl.Series(column.name, _values(column, codes), dtype=TYPES[column.kind])
    if constant is not None:
        numbers = np.full(n, constant)
    else:
        numbers = marginals.place(column.name, raw.draw[:, at[None]])
        numbers = np.round(numbers) if column.integer else numbers
    missing = np.zeros(n, dtype=bool) if -1 not in at else rng.random(n) < raw.mean[:, at[-1]]
    values = [None if gone else x for gone, x in zip(missing, numbers.tolist(), strict=True)]
    series = pl.Series(column.name, values, dtype=pl.Float64)
    return series.cast(pl.Int64) if column.integer else series


def _draw_events(means: dict[int, Floats], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw (N,) codes; `means` maps each code to its (N,) probabilities, here made to sum to 1."""
    weights = np.clip(np.stack(list(means.values()), axis=1), 0.0, 1.0) + 1e-12
    upto = np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)
    place = np.minimum((rng.random((len(upto), 1)) > upto).sum(1), len(means) - 1)
    return np.asarray(np.array(list(means), dtype=np.int64)[place])


def _values(column: Column, codes: NDArray[np.int64]) -> list[Any]:
    if column.kind is Kind.BOOLEAN:
        return [None if code == missing_code(column) else bool(code) for code in codes.tolist()]
    return [code_name(column, code) for code in codes.tolist()]
