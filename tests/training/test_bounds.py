"""What an artifact's weights say of log p(x), and that they are the ones that score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.conftest import SMALL, call, make_frame
from vaewatch.scoring.artifact import WEIGHTS
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.bounds import bounds_of
from vaewatch.training.export.weights import load_vae
from vaewatch.training.train import train
from vaewatch.training.vae.elbo import elbo


@pytest.fixture(scope="module")
def x(scorer: Scorer) -> np.ndarray:
    table = checked_table(scorer.artifact.schema, make_frame(120, seed=8))
    return scorer.artifact.vectorizer.transform(table).values


@torch.no_grad()
def test_the_weights_that_are_read_reconstruct_like_the_graph(
    artifact_path: Path, scorer: Scorer, x: np.ndarray
):
    vae = load_vae(artifact_path)
    means = vae.decode(vae.encode(torch.from_numpy(x).expand(4, -1, -1)).mu).mean[::2].numpy()
    whitened = scorer.network.whitened(x).swapaxes(0, 1)
    root = scorer.artifact.precision.whiten(np.eye(x.shape[1]))
    want = np.linalg.solve(root.T, whitened.reshape(-1, x.shape[1]).T).T
    np.testing.assert_allclose(x - means, want.reshape(whitened.shape), rtol=1e-3, atol=1e-4)


def test_the_bound_of_a_trained_artifact_rises_with_its_draws(artifact_path: Path, x: np.ndarray):
    vae = load_vae(artifact_path)
    found = [bounds_of(vae, x, draws) for draws in (1, 8, 64)]
    bounds = [b.importance_weighted for b in found]
    assert bounds[0] == pytest.approx(found[0].elbo)
    assert bounds[0] < bounds[1] < bounds[2]


@torch.no_grad()
def test_the_elbo_is_that_of_the_objective(artifact_path: Path, x: np.ndarray):
    vae = load_vae(artifact_path)
    stacked = torch.from_numpy(x).expand(4, -1, -1)
    draws = [elbo(vae, stacked, stacked, torch.randn(4, 120, vae.latent)) for _ in range(64)]
    want = np.mean([-(e.reconstruction_nll + e.kl).mean().item() for e in draws])
    assert bounds_of(vae, x, 64).elbo == pytest.approx(want, rel=0.02)


def test_evaluate_prints_both_bounds(artifact_path: Path, tmp_path: Path):
    labelled = make_frame(60, seed=9).with_columns(pl.lit("normal").alias("label"))
    labelled.write_csv(tmp_path / "labelled.csv")
    words = ("evaluate", artifact_path, tmp_path / "labelled.csv", "--draws", 16)
    bounds = json.loads(call(*words, "--json").stdout)["bounds"]
    assert bounds["elbo"] < bounds["importance_weighted"] and bounds["records"] == 60
    assert f"{bounds['elbo']:.4g} (ELBO)" in call(*words).stdout


def test_an_autoencoder_has_no_bound(mixed_frame: pl.DataFrame, tmp_path: Path):
    settings = {**SMALL, "alpha": 0.05, "id": "order", "model": "ae"}
    train(mixed_frame, tmp_path / "ae", report=False, **settings)
    make_frame(60, seed=9).with_columns(label=0).write_csv(tmp_path / "labelled.csv")
    done = call("evaluate", tmp_path / "ae", tmp_path / "labelled.csv", "--json")
    assert json.loads(done.stdout)["bounds"] is None


def test_weights_that_are_not_there_are_named(artifact_path: Path, tmp_path: Path):
    manifest = json.loads((artifact_path / "manifest.json").read_text())
    del manifest["sha256"][WEIGHTS]
    for path in artifact_path.iterdir():
        if path.name != WEIGHTS:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="must hold weights.safetensors"):
        load_vae(tmp_path)
