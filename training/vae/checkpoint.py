"""Snapshot <-> a file beside the artifact, from which a killed run can go on.

The file holds tensors and a few numbers, no pickle. It is written to a temporary name and renamed,
so that a kill during a write leaves the one before. Others may write in its folder, so a run goes
on only from a file that is ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.files.whole import drafts_of, read_ours, replace_whole
from vaewatch.training.ahead import checkpoint_of

EVERY_STEPS = 200


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on, and the log so far.

    device: the kind that the steps ran on, of which the states of generators are.
    """

    step: int
    tensors: dict[str, Tensor]
    log: list[Any]
    device: str = "cpu"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run's snapshots are kept.

    key: a hash of the data and the settings; a run of others cannot go on from it.
    """

    path: Path
    key: str
    resume: bool

    @classmethod
    def beside(cls, out: Path, key: str, *, resume: bool) -> Checkpoint:
        return cls(checkpoint_of(out), key, resume)

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot in place of the one before.

        Raises:
            ArtifactError: it cannot be written.
        """
        about = {"key": self.key, "step": str(snapshot.step), "log": json.dumps(snapshot.log)}
        about["device"] = snapshot.device
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_whole(self.path, save_tensors(snapshot.tensors, about))
        except (OSError, SafetensorError) as error:
            raise ArtifactError(
                f"checkpoint '{self.path}' could not be written: {error}."
            ) from error

    def load(self, device: torch.device) -> Snapshot | None:
        """Return the snapshot to go on from, or None if the run must start from the beginning.

        Raises:
            ArtifactError: the checkpoint is of another kind of device, or of other data or
                settings, or cannot be read.
        """
        if not self.resume or not (self.path.exists() or self.path.is_symlink()):
            return None
        try:
            content = read_ours(self.path)
            about = _metadata(content)
            tensors = {name: t.to(device) for name, t in load_tensors(content).items()}
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise ArtifactError(
                f"checkpoint '{self.path}' must be readable: {error}. Train without --resume."
            ) from error
        made_on = about.get("device", device.type)
        if made_on != device.type:
            raise ArtifactError(
                f"checkpoint '{self.path}' is of a run on {made_on}, so a run on {device.type} "
                f"cannot go on from it. Pass --device {made_on}, or train without --resume."
            )
        if about["key"] != self.key:
            raise ArtifactError(
                f"checkpoint '{self.path}' is of other data or settings, so a run cannot go on "
                "from it. Give the same command as before, or train without --resume."
            )
        return Snapshot(int(about["step"]), tensors, json.loads(about["log"]), made_on)

    def remove(self) -> None:
        for path in (self.path, *drafts_of(self.path)):
            path.unlink(missing_ok=True)


def _metadata(content: bytes) -> dict[str, str]:
    """Return what the header of safetensors says beside the tensors (length, then JSON)."""
    length = int.from_bytes(content[:8], "little")
    about: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return about
