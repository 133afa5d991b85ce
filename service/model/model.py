"""artifact -> Model: a verified scorer, with everything that answering from it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from vaewatch.scoring.artifact import DIRECTIONS, NETWORK, PRECISION
from vaewatch.scoring.budget.windows import alike
from vaewatch.scoring.schema import Column, Kind
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.kept import history_key
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.values import example_of
from vaewatch.service.model.reader import RecordReader
from vaewatch.service.settings import Settings


class ModelName(msgspec.Struct):
    """Which model gave the verdicts, and at which false-alarm rate."""

    name: str
    version: str
    alpha: float


@dataclass(frozen=True, eq=False)
class Model:
    """One artifact in service; a reload makes a new one.

    window: of the records that each is judged with; None if each is judged by itself.
    """

    scorer: Scorer
    reader: RecordReader
    path: Path
    target: Path  # the folder itself, where `path` is a link
    window: Window | None = None
    loaded_at: float = field(default_factory=time.time)

    @cached_property
    def name(self) -> ModelName:
        return self.named(self.scorer.artifact.calibration.alpha)

    def named(self, alpha: float) -> ModelName:
        """Name the model for verdicts at another false-alarm rate."""
        artifact = self.scorer.artifact
        return ModelName(artifact.name, artifact.version, alpha)

    @cached_property
    def fingerprint(self) -> str:
        return self.scorer.artifact.manifest.data_fingerprint

    @cached_property
    def scale(self) -> str:
        """What decides the scores: models that differ only in their calibration have the same."""
        manifest = self.scorer.artifact.manifest
        beside = PRECISION if self.window is None else DIRECTIONS
        files = [manifest.sha256[name] for name in (NETWORK, beside)]
        parts = (files, manifest.schema.to_json(), manifest.vectorizer, manifest.score)
        return sha256(msgspec.json.encode(parts)).hexdigest()[:16]

    @cached_property
    def history_key(self) -> str:
        """What a history belongs to: models with the same features of a record and the same
        window can go on with it, as after a recalibration.
        """
        manifest = self.scorer.artifact.manifest
        features = msgspec.json.encode((manifest.schema.to_json(), manifest.vectorizer))
        if self.window is None:
            raise AssertionError("an artifact without a window has no history")
        return history_key(sha256(features).hexdigest(), self.window)

    @cached_property
    def spacing(self) -> int:
        """How many records of an entity lie between two whose scores do not depend on each other,
        by the autocorrelation of the calibration scores; 1 without a window.
        """
        series = self.scorer.artifact.manifest.series
        if series is None or series.score_blocks is None:
            return math.ceil(self.alike)
        return math.ceil(self.scorer.artifact.calibration.n / max(series.score_blocks, 1))

    @cached_property
    def alike(self) -> float:
        """How many records are worth one independent record: of neighbours with a window, or of
        one entity.
        """
        artifact = self.scorer.artifact
        calibration, series = artifact.calibration, artifact.manifest.series
        return calibration.alike if series is None else alike(calibration, series)

    @cached_property
    def created_at(self) -> float:
        return datetime.fromisoformat(self.scorer.artifact.manifest.created_at).timestamp()

    @cached_property
    def rate_interval(self) -> tuple[float, float]:
        """The 95% interval of the true false-alarm rate."""
        if self.window is not None:  # that of its independent blocks
            low, high = self.scorer.artifact.manifest.calibration.rate_interval_95
            return low, high
        return self.scorer.artifact.calibration.rate_law().interval()

    @cached_property
    def expected_rate(self) -> float:
        """The share of normal records that is expected to alarm: its upper bound with ties."""
        return self.scorer.artifact.calibration.rate_law().mean

    @cached_property
    def card(self) -> dict[str, Any]:
        """The body of `GET /v1/model`."""
        artifact = self.scorer.artifact
        card: dict[str, Any] = {
            "name": artifact.name,
            "version": artifact.version,
            "fingerprint": self.fingerprint,
            "created_at": artifact.manifest.created_at,
            "alpha": artifact.calibration.alpha,
            "calibration": artifact.manifest.calibration,
            "schema": artifact.schema.to_json(),
            "example": self.example(),
        }
        if self.window is not None:
            card["window"] = self.window
        if artifact.manifest.new_entities is not None:
            card["new_entities"] = artifact.manifest.new_entities
        return card

    def example(self) -> dict[str, Any]:
        """Make up a typical record; it is no record of the fit data.

        Medians and most frequent categories need not go together, a dog with a car, so what the
        reasons of an alarm expect is put in their place.
        """
        record = self._middle()
        if self.window is not None:
            return record
        for _ in self.scorer.artifact.schema.columns:
            (reasons,) = self.scorer.score([record]).reasons  # of an alarm
            if not reasons or reasons[0].column not in record:
                break
            record[reasons[0].column] = reasons[0].expected
        return record

    def _middle(self) -> dict[str, Any]:
        artifact = self.scorer.artifact
        medians = artifact.drift.edges[:, artifact.drift.edges.shape[1] // 2].tolist()
        middle = dict(zip((c.name for c in artifact.schema.numeric), medians, strict=True))
        schema = artifact.schema
        plain = [column for column in schema.columns if column.kind is not Kind.CIRCULAR]
        record: dict[str, Any] = {c.name: _typical(c, middle.get(c.name)) for c in plain}
        if schema.entity is not None:
            record[schema.entity] = "an entity"
        return record if schema.time is None else {**record, **example_of(schema.time)}


def _typical(column: Column, median: float | None) -> float | str | bool | None:
    if column.kind is Kind.BOOLEAN:
        return False
    if column.kind is Kind.CATEGORICAL:
        return column.categories[0] if column.categories else None
    return int(median) if column.integer and median is not None else median


def load_model(path: Path, settings: Settings) -> Model:
    """Read and verify an artifact.

    Raises:
        ArtifactError: says what is wrong with it.
    """
    target = path.resolve()  # a `current` link may move while we read
    scorer = Scorer.load(target, settings.threads)
    reader = RecordReader(scorer.artifact.schema, settings.max_records)
    return Model(scorer, reader, path, target, scorer.artifact.window)
