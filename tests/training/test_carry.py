"""Weights that are carried over to other features: the network computes the same as before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import torch

from tests.conftest import make_frame
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.vae.carry import Shared, carry, map_keys
from vaewatch.training.vae.vae import VAE


def vectorizer_of(frame: pl.DataFrame) -> Vectorizer:
    schema = infer_schema(frame, TrainConfig(id="order"))
    return fit_vectorizer(checked_table(schema, frame))


def stack(vectorizer: Vectorizer, seed: int) -> VAE:
    generator = torch.Generator().manual_seed(seed)
    features = len(vectorizer.features)
    return VAE(members=3, features=features, latent=4, width=8, generator=generator)


@dataclass(frozen=True)
class Seen:
    """What a stack makes of records: codes, (M, N, L), reconstructions and deviations in the
    columns' own units, (M, N, D).
    """

    mu: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    mean: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    sigma: np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@torch.no_grad()
def seen(vae: VAE, vectorizer: Vectorizer, frame: pl.DataFrame) -> Seen:
    x = vectorizer.transform(checked_table(vectorizer.schema, frame)).values
    mu = vae.encode(torch.from_numpy(x).expand(vae.members, -1, -1)).mu
    law = vae.decode(mu)
    scale = np.array([feature.deviation for feature in vectorizer.features])
    sigma = law.log_sigma.exp().double().numpy() * scale
    return Seen(mu.double().numpy(), vectorizer.raw(law.mean.double().numpy()), sigma)


def complete(n: int, seed: int) -> pl.DataFrame:
    """Without missing values, which stand for the mean of either fit."""
    return make_frame(n, seed).with_columns(pl.col("age").fill_null(40.0))


@pytest.fixture(scope="module")
def old() -> Vectorizer:
    return vectorizer_of(complete(400, seed=1))


def carried(old: Vectorizer, new: Vectorizer) -> tuple[VAE, VAE]:
    vae = stack(old, seed=0)
    return vae, VAE.of(carry(vae, stack(new, seed=1), Shared.of(old, new)))


def test_other_means_and_deviations_change_nothing(old: Vectorizer):
    frame = complete(300, seed=2).with_columns(pl.col("amount") * 1.5 + 30)
    new = vectorizer_of(frame)
    assert old.features != new.features and map_keys(old) == map_keys(new)
    vae, after = carried(old, new)
    before, now = seen(vae, old, frame), seen(after, new, frame)
    for name in ("mu", "mean", "sigma"):
        np.testing.assert_allclose(getattr(now, name), getattr(before, name), rtol=2e-3, atol=1e-4)


def test_categories_keep_their_weights_in_another_order(old: Vectorizer):
    """The most frequent category has code 0, and another one is the most frequent now."""
    frame = complete(300, seed=3).with_columns(country=pl.col("country").replace("NL", "DE"))
    nl = complete(300, seed=4).head(20).with_columns(country=pl.lit("NL"))
    frame = pl.concat([frame, nl])
    new = vectorizer_of(frame)
    codes = [(f.column, f.code) for f in new.features], [(f.column, f.code) for f in old.features]
    assert new.schema.columns[3].categories == ("DE", "FR", "NL") and codes[0] == codes[1]
    vae, after = carried(old, new)
    np.testing.assert_allclose(
        seen(after, new, frame).mu, seen(vae, old, frame).mu, rtol=1e-3, atol=1e-4
    )


def test_what_is_gone_is_held_at_its_value(old: Vectorizer):
    """No French order and no express one any more, and one amount for all."""
    frame = complete(300, seed=5).filter(pl.col("country") != "FR")
    frame = frame.with_columns(express=pl.lit(False), amount=pl.lit(110.0))
    new = vectorizer_of(frame)
    gone = [old.features[i].column for i in Shared.of(old, new).gone]
    assert gone == ["amount", "country", "express", "express"]
    vae, after = carried(old, new)
    np.testing.assert_allclose(
        seen(after, new, frame).mu, seen(vae, old, frame).mu, rtol=1e-3, atol=1e-4
    )


def test_what_is_new_starts_afresh(old: Vectorizer):
    frame = complete(300, seed=6)
    frame = pl.concat([frame, frame.head(30).with_columns(country=pl.lit("BE"))])
    frame = frame.with_columns(pl.col("amount") * 1000)  # another unit, another feature
    new = vectorizer_of(frame)
    shared = Shared.of(old, new)
    at = sorted(set(range(len(new.features))) - set(shared.new.tolist()))
    assert [map_keys(new)[i] for i in at] == [
        ("amount", "number", None),
        ("country", "category", "BE"),
    ]
    vae, fresh = stack(old, seed=0), stack(new, seed=1)
    weights = carry(vae, fresh, shared)
    assert torch.equal(weights["enter.weight"][:, at], fresh.enter.weight[:, at])
    assert torch.equal(weights["leave.weight"][..., at], fresh.leave.weight[..., at])
    assert torch.equal(weights["log_sigma"][..., at], fresh.log_sigma[..., at])
    assert torch.equal(weights["encoder.weight"], vae.encoder.weight)
