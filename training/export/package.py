"""what was learned -> an artifact's manifest and files."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save as save_weights

from vaewatch.scoring.artifact import (
    CALIBRATION,
    FINDINGS,
    FORMAT_VERSION,
    GOLDEN,
    MARGINALS,
    NETWORK,
    PRECISION,
    REPORT,
    WEIGHTS,
    Artifact,
    Golden,
    pack_calibration,
    pack_golden,
    unpack_artifact,
)
from vaewatch.scoring.calibration import Calibration
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.features import Vectorizer
from vaewatch.scoring.network import Network
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule, score_features
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import describe
from vaewatch.training.config import TrainConfig
from vaewatch.training.marginals import Marginals
from vaewatch.training.records.split import Split
from vaewatch.training.vae.fit import Fitted

if TYPE_CHECKING:
    from vaewatch.training.report.findings import Findings

GOLDEN_RECORDS = 5


@dataclass(frozen=True)
class Parts:
    """All that was learned."""

    vectorizer: Vectorizer
    fitted: Fitted
    rule: ScoreRule
    graph: bytes
    precision: Precision
    export_difference: float
    calibration: Calibration
    drift: DriftReference
    findings: Findings | None = None


@dataclass(frozen=True)
class Package:
    """An artifact before it has a folder."""

    manifest: dict[str, Any]
    files: dict[str, bytes]

    def artifact(self) -> Artifact:
        return unpack_artifact(self.manifest, self.files)


def pack(parts: Parts, table: Table, split: Split, config: TrainConfig) -> Package:
    """The artifact of a training run; its golden records are from the calibration's side."""
    few = table.take(split.calibration[:GOLDEN_RECORDS])
    features = parts.vectorizer.transform(few)
    scores = score_features(Network(parts.graph), parts.rule, features)
    files = {
        NETWORK: parts.graph,
        PRECISION: parts.precision.to_bytes(),
        CALIBRATION: pack_calibration(parts.calibration, parts.drift),
        GOLDEN: pack_golden(make_golden(few, scores, parts.calibration)),
        WEIGHTS: save_weights(parts.fitted.vae.state_dict()),
        MARGINALS: Marginals.of(table.take(split.fit)).to_bytes(),
    }
    last = parts.fitted.log[-1]
    manifest = {
        "format_version": FORMAT_VERSION,
        "version": name_version(files, table.schema, config.alpha),
        "created_at": now(),
        "alpha": config.alpha,
        "calibration": describe(parts.calibration),
        "schema": table.schema.to_json(),
        "vectorizer": parts.vectorizer.to_json(),
        "score": asdict(parts.rule),
        "training": asdict(config),
        "metrics": {
            "records": len(table),
            "fit_records": len(split.fit),
            "trimmed_records": len(split.trimmed),
            "features": len(parts.vectorizer.features),
            "latent": parts.fitted.vae.latent,
            "reconstruction_nll": last.reconstruction_nll,
            "kl": last.kl,
            "export_difference": parts.export_difference,
        },
        "libraries": library_versions(),
    }
    if parts.findings:
        files[FINDINGS] = parts.findings.to_bytes()
    return Package(manifest, files)


def make_golden(few: Table, scores: NDArray[np.float64], calibration: Calibration) -> Golden:
    """A few records as JSON would carry them, with what they must get."""
    columns = few.schema.columns
    records = [{c.name: few.observed(row, c) for c in columns} for row in range(len(few))]
    return Golden(records, scores, calibration.p_values(scores))


def name_version(files: Mapping[str, bytes], schema: Schema, alpha: float) -> str:
    """A name for what the artifact does: the same content, the same version, with a report or
    without.
    """
    digest = hashlib.sha256(repr((schema, alpha)).encode())
    for name in sorted(set(files) - {FINDINGS, REPORT}):
        digest.update(files[name])
    return digest.hexdigest()[:12]


def now() -> str:
    """UTC; SOURCE_DATE_EPOCH fixes it for reproducible builds."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")


def library_versions() -> dict[str, str]:
    names = ("vaewatch", "torch", "numpy", "onnxruntime")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
