"""Snapshot <-> a file beside the artifact, from which a killed run can go on.

The file holds tensors and a few numbers, no pickle. It is written to a temporary name and renamed,
so that a kill during a write leaves the one before.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vaewatch.scoring.errors import ArtifactError

EVERY_STEPS = 200


@dataclass(frozen=True)
class Snapshot:
    """Everything that the next step depends on, and the log so far."""

    step: int
    tensors: dict[str, Tensor]
    log: list[Any]


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
        return cls(out.absolute().parent / f".{out.name}.checkpoint", key, resume)

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot in place of the one before.

        Raises:
            ArtifactError: it cannot be written.
        """
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        about = {"key": self.key, "step": str(snapshot.step), "log": json.dumps(snapshot.log)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_file(snapshot.tensors, draft, about)
            os.replace(draft, self.path)
        except (OSError, SafetensorError) as error:
            raise ArtifactError(
                f"checkpoint '{self.path}' could not be written: {error}."
            ) from error
        finally:
            draft.unlink(missing_ok=True)

    def load(self, device: torch.device) -> Snapshot | None:
        """Return the snapshot to go on from, or None if the run must start from the beginning.

        Raises:
            ArtifactError: the checkpoint is of other data or settings, or cannot be read.
        """
        if not self.resume or not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt", str(device)) as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}
        except (OSError, SafetensorError) as error:
            raise ArtifactError(
                f"checkpoint '{self.path}' must be readable: {error}. Train without --resume."
            ) from error
        if about["key"] != self.key:
            raise ArtifactError(
                f"checkpoint '{self.path}' is of other data or settings, so a run cannot go on "
                "from it. Give the same command as before, or train without --resume."
            )
        return Snapshot(int(about["step"]), tensors, json.loads(about["log"]))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
