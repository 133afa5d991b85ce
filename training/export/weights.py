"""weights.safetensors -> VAE: the stack that an artifact was exported from."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load as load_tensors

from vaewatch.scoring.artifact import WEIGHTS, read_files, read_manifest
from vaewatch.scoring.errors import ArtifactError
from vaewatch.training.export.score_model import served_members
from vaewatch.training.vae.vae import VAE


def load_vae(path: Path) -> VAE:
    """The VAE of an artifact's verified weights; its sizes are those of its tensors.

    Raises:
        ArtifactError: the artifact holds no weights.
    """
    return VAE.of(load_tensors(read_kept(path, WEIGHTS))).eval()


def load_served(path: Path) -> VAE:
    """The members of it that score."""
    training = read_manifest(path).training
    return load_vae(path).only(served_members(training.members, training.served))


def read_kept(path: Path, name: str) -> bytes:
    """A verified file of an artifact that scoring does without, and that may have been taken away.

    Raises:
        ArtifactError: the artifact does not hold it.
    """
    files = read_files(path, read_manifest(path))
    if name not in files:
        raise ArtifactError(f"'{path}' must hold {name} for this, but does not. Train it again.")
    return files[name]
