"""artifact -> Parent: the fit that another one continues, on old and new records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from vaewatch.scoring.artifact import Artifact, read_artifact
from vaewatch.scoring.errors import SchemaError, SettingError
from vaewatch.scoring.features import Vectorizer
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.weights import load_vae
from vaewatch.training.learned import Continued
from vaewatch.training.records.read import fingerprint
from vaewatch.training.vae.carry import Shared, carry
from vaewatch.training.vae.vae import VAE

SHAPE = ("model", "members", "width", "latent")  # settings that the weights decide
STEPS = 533  # of a continued fit, a third of a whole one: see benchmarks/RESULTS.md
OWN = ("device", "steps")  # settings that a fit does not hand on


def anew(config: TrainConfig) -> TrainConfig:
    """Return the settings of a whole fit: the one that looks for suspects starts from nothing,
    since old weights have learned the old ones.
    """
    return replace(config, steps=TrainConfig.steps)


@dataclass(frozen=True)
class Parent:
    """An artifact, and all members of its stack."""

    artifact: Artifact
    vae: VAE

    @classmethod
    def load(cls, path: Path | str) -> Parent:
        """Read an artifact and its weights.

        Raises:
            ArtifactError: it is no artifact, or holds no weights.
        """
        return cls(read_artifact(path), load_vae(Path(path)))

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a fit that continues this one: its own, but for those given.

        Raises:
            SettingError: the weights do not allow one that is given.
        """
        training = self.artifact.manifest.training
        own = {name: getattr(training, name) for name in training.__struct_fields__}
        own |= {"latent": self.vae.latent}
        for name in SHAPE:
            if given.get(name, own[name]) not in (None, own[name]):
                raise SettingError(
                    f"setting '{name}' must be {own[name]}, as in the artifact that the fit "
                    f"continues, got {given[name]}. Leave it out, or train anew."
                )
        usual = {name: value for name, value in own.items() if name not in OWN}
        kinds = {column.name: column.kind for column in self.artifact.schema.columns}
        chosen = {**usual, "steps": STEPS, **given, **{name: own[name] for name in SHAPE}}
        return {**chosen, "kinds": {**kinds, **given.get("kinds", {})}}

    def continued(self, frame: pl.DataFrame, config: TrainConfig) -> Continued:
        """Return what a fit to this frame continues.

        Raises:
            SchemaError: its columns to learn are not those of the artifact.
        """
        schema, apart = self.artifact.schema, {config.id, config.label, *config.ignore}
        names = [name for name in frame.columns if name not in apart]
        if differ := sorted(set(names) ^ set(schema.names)):
            lacks = "the artifact" if differ[0] in names else "the input"
            raise SchemaError(
                "the columns to learn must be those of the artifact whose fit is continued, but "
                f"{lacks} lacks '{differ[0]}'. Leave others out with --ignore, or train anew."
            )
        manifest = self.artifact.manifest
        n = manifest.metrics.records
        first = len(frame) >= n and fingerprint(frame.head(n)) == manifest.data_fingerprint
        return Continued(manifest.version, n if first else 0)

    def weights(self, vectorizer: Vectorizer, seed: int) -> Mapping[str, Tensor]:
        """Return the weights to start from on the features of the new fit."""
        fresh = VAE(
            members=self.vae.members,
            features=len(vectorizer.features),
            latent=self.vae.latent,
            width=self.vae.width,
            generator=torch.Generator().manual_seed(seed),
        )
        return carry(self.vae, fresh, Shared.of(self.artifact.vectorizer, vectorizer))
