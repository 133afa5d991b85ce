"""artifact -> Parent: the fit that another one continues, on old and new records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.errors import SchemaError, SettingError
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Kind
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.weights import load_vae
from vaewatch.training.learned import Continued
from vaewatch.training.records.read import fingerprint
from vaewatch.training.records.seen import Seen, load_seen
from vaewatch.training.vae.carry import Shared, carry
from vaewatch.training.vae.vae import VAE

SHAPE = ("model", "members", "width", "latent")  # settings that the weights decide
STEPS = 533  # of a continued fit, a third of a whole one: see benchmarks/RESULTS.md
OWN = ("device", "steps", "threads")  # settings that a fit does not hand on


def anew(config: TrainConfig) -> TrainConfig:
    """Return the settings of a whole fit: the one that looks for suspects starts from nothing,
    since old weights have learned the old ones.
    """
    return replace(config, steps=TrainConfig.steps)


@dataclass(frozen=True)
class Parent:
    """An artifact, all members of its stack, and the records that these were fitted to."""

    artifact: Artifact
    vae: VAE
    seen: Seen | None

    @classmethod
    def load(cls, path: Path | str) -> Parent:
        """Read an artifact and its weights.

        Raises:
            ArtifactError: it is no artifact, or holds no weights.
        """
        return cls(read_artifact(path), load_vae(Path(path)), load_seen(Path(path)))

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a fit that continues this one: its own, but for those given.

        Raises:
            SettingError: the weights do not allow one that is given.
        """
        training = self.artifact.manifest.training
        own = {name: getattr(training, name) for name in training.__struct_fields__}
        own |= {"latent": self.vae.latent}
        if (time := self.artifact.schema.time) and time.order:
            own |= {"date_order": time.order}  # few new dates may not tell
        for name in SHAPE:
            if given.get(name, own[name]) not in (None, own[name]):
                raise SettingError(
                    f"setting '{name}' must be {own[name]}, as in the artifact that the fit "
                    f"continues, got {given[name]}. Leave it out, or train anew."
                )
        usual = {name: value for name, value in own.items() if name not in OWN}
        columns = self.artifact.schema.columns
        kinds = {c.name: c.kind for c in columns if c.kind is not Kind.CIRCULAR}
        chosen = {**usual, "steps": STEPS, **given, **{name: own[name] for name in SHAPE}}
        return {**chosen, "kinds": {**kinds, **given.get("kinds", {})}}

    def continued(self, frame: pl.DataFrame, config: TrainConfig) -> Continued:
        """Return what a fit to this frame continues.

        Raises:
            SchemaError: its columns to learn are not those of the artifact.
            CalibrationError: it cannot be told which records are those of the artifact's fit.
        """
        schema = self.artifact.schema
        apart = {config.id, config.label, config.entity, *config.ignore}
        time = None if schema.time is None else schema.time.column
        if config.time != time:
            was, got = ("none" if each is None else f"'{each}'" for each in (time, config.time))
            raise SchemaError(
                f"the time must be that of the artifact whose fit is continued, {was}, got {got}. "
                "Rename the column, or train anew."
            )
        names = [name for name in frame.columns if name not in apart]
        if differ := sorted(set(names) ^ set(schema.inputs)):
            lacks = "the artifact" if differ[0] in names else "the input"
            raise SchemaError(
                "the columns to learn must be those of the artifact whose fit is continued, but "
                f"{lacks} lacks '{differ[0]}'. Leave others out with --ignore, or train anew."
            )
        return Continued(self.artifact.version, self._known(frame, config), self.seen)

    def _known(self, frame: pl.DataFrame, config: TrainConfig) -> NDArray[np.bool_]:
        """Return which of N records the artifact's weights have seen, (N,). Of an artifact that
        does not say, they are its own, if these come first; and none are if a kind is another.
        """
        manifest, schema = self.artifact.manifest, self.artifact.schema
        if self.seen is None:
            n = manifest.metrics.records
            first = len(frame) >= n and fingerprint(frame.head(n)) == manifest.data_fingerprint
            return np.arange(len(frame)) < (n if first else 0)
        if any(config.kinds.get(own.name, own.kind) != own.kind for own in schema.columns):
            return np.zeros(len(frame), np.bool_)
        return self.seen.find(checked_table(schema, frame))

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
