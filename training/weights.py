"""weights.safetensors -> VAE: the stack that an artifact was exported from."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load as load_tensors

from scoring.artifact import WEIGHTS, read_files, read_manifest
from scoring.errors import ArtifactError
from training.vae import VAE


def load_vae(path: Path) -> VAE:
    """The VAE of an artifact's verified weights; its sizes are those of its tensors.

    Raises:
        ArtifactError: the artifact holds no weights.
    """
    files = read_files(path, read_manifest(path))
    if WEIGHTS not in files:
        raise ArtifactError(
            f"'{path}' must hold {WEIGHTS} for this, but does not. Train it again."
        )
    tensors = load_tensors(files[WEIGHTS])
    members, features, width = tensors["enter.weight"].shape
    vae = VAE(
        members=members,
        features=features,
        latent=tensors["mu.weight"].shape[2],
        width=width,
        generator=torch.Generator(),
    )
    vae.load_state_dict(tensors)
    return vae.eval()
