"""artifact -> VAE: the stack that its graph was exported from."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from vaewatch.scoring.artifact import WEIGHTS
from vaewatch.scoring.disk.reading import read_kept, read_manifest
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.training.vae.folds import served_members
from vaewatch.training.vae.vae import VAE

UNIT = "unit"  # of windows: the unit of the VAE's features, beside the weights


def load_vae(path: Path) -> VAE:
    """Load all members from the verified weights of an artifact.

    Raises:
        ArtifactError: the artifact holds no weights, or no stack that can be made of them.
    """
    weights = require_kept(path, WEIGHTS)
    try:
        tensors = load_tensors(weights)
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ArtifactError(f"'{path}' is damaged: its weights must be finite.")
        return VAE.of({name: each for name, each in tensors.items() if name != UNIT}).eval()
    except (*BROKEN, RuntimeError, SafetensorError) as error:
        raise damaged(path, error) from error


def load_unit(path: Path) -> float:
    """Load the unit in which the VAE of an artifact of windows sees places along the directions.

    Raises:
        ArtifactError: it holds none.
    """
    try:
        found = load_tensors(require_kept(path, WEIGHTS)).get(UNIT)
    except (*BROKEN, SafetensorError) as error:
        raise damaged(path, error) from error
    if found is None or found.numel() != 1 or not bool(found.isfinite().all()):
        raise ArtifactError(f"'{path}' is damaged: its weights must have a unit.")
    return float(found)


def load_served(path: Path) -> VAE:
    """Load the members that score."""
    training = read_manifest(path).training
    return load_vae(path).only(served_members(training.members, training.served))


def require_kept(path: Path, name: str) -> bytes:
    """Read and verify a file that scoring does not need, and that may have been taken away.

    Raises:
        ArtifactError: the artifact does not hold it.
    """
    content = read_kept(path, name)
    if content is None:
        raise ArtifactError(f"'{path}' must hold {name} for this, but does not. Train it again.")
    return content
