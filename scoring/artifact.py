"""what a Scorer needs <-> a folder, written whole or not at all and verified when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from vaewatch.scoring.calibration import Calibration
from vaewatch.scoring.disk.exchange import while_replaced
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.errors import ArtifactError, ScoringError
from vaewatch.scoring.features import Vectorizer
from vaewatch.scoring.manifest import MANIFEST, Manifest, json_bytes
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule

NETWORK = "network.onnx"
PRECISION = "precision.safetensors"
CALIBRATION = "calibration.safetensors"
GOLDEN = "golden.json"
WEIGHTS = "weights.safetensors"
MARGINALS = "marginals.safetensors"
SEEN = "seen.safetensors"
FINDINGS = "report.json"
REPORT = "report.html"
# name -> what the file holds
FILES = {
    MANIFEST: "All that the artifact says of itself: see the fields of `Manifest`.",
    NETWORK: "The forward pass as one ONNX graph: (N, D) features in; the parts of N scores and "
    "each member's whitened residuals out.",
    PRECISION: "The inverse covariance of the residuals, which shares a score out to columns.",
    CALIBRATION: "The sorted calibration scores, and the bins of the drift reference.",
    GOLDEN: "A few records with the scores and p-values that they must get.",
    WEIGHTS: "The weights of every member, for torch; scoring does not read them.",
    MARGINALS: "Quantiles of the numeric columns in the fit data, for `vaewatch sample`.",
    SEEN: "Hashes of the fit records: recalibration and `train --from` know them again.",
    FINDINGS: "What the training report is made from.",
    REPORT: "The training report: one page that needs no other file.",
}
NEEDED = (NETWORK, PRECISION, CALIBRATION, GOLDEN)  # to score; the rest may be taken away


@dataclass(frozen=True)
class Golden:
    """A few records with the scores and p-values that they must get."""

    records: list[dict[str, Any]]
    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]


@dataclass(frozen=True)
class Artifact:
    """All that scoring needs, as read from a folder; the manifest is for people."""

    manifest: Manifest
    schema: Schema
    vectorizer: Vectorizer
    graph: bytes
    precision: Precision
    rule: ScoreRule
    calibration: Calibration
    drift: DriftReference
    golden: Golden

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version


def pack_calibration(calibration: Calibration, drift: DriftReference) -> bytes:
    """Return the arrays of an artifact that change when it is recalibrated, as safetensors."""
    arrays = {
        "scores": calibration.scores,
        "drift_edges": drift.edges,
        "drift_counts": drift.counts,
    }
    return save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def pack_golden(golden: Golden) -> bytes:
    scores, p_values = golden.scores.tolist(), golden.p_values.tolist()
    return json_bytes({"records": golden.records, "scores": scores, "p_values": p_values})


@while_replaced
def read_artifact(path: Path | str) -> Artifact:
    """Read a folder, and check its format version and every hash.

    Raises:
        ArtifactError: it is no artifact, not whole, or not as it was written.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    files = read_files(folder, manifest)
    try:
        return unpack_artifact(manifest, files)
    except ArtifactError:
        raise
    except (KeyError, TypeError, ValueError, SafetensorError, ScoringError) as error:
        raise ArtifactError(f"'{folder}' is damaged: {type(error).__name__}: {error}.") from error


def read_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return every file that the manifest lists, each with the hash that it had when written.

    Files that scoring does not need may have been taken away, to make an image smaller; those that
    are there must be as they were written.
    """
    return {
        name: read_verified(folder, name, digest)
        for name, digest in manifest.sha256.items()
        if name in NEEDED or _is_there(folder, name)
    }


def _is_there(folder: Path, name: str) -> bool:
    return Path(name).name != name or (folder / name).exists()  # a path is refused, see below


def unpack_artifact(manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Return what a manifest and its files hold, ready to score."""
    schema, score = manifest.schema, manifest.score
    arrays = load_tensors(files[CALIBRATION])
    golden = json.loads(files[GOLDEN])
    return Artifact(
        manifest=manifest,
        schema=schema,
        vectorizer=Vectorizer.from_json(schema, msgspec.structs.asdict(manifest.vectorizer)),
        graph=files[NETWORK],
        precision=Precision.from_bytes(files[PRECISION]),
        rule=ScoreRule(score.unseen, score.kl_weight, score.neighbour_weight),
        calibration=Calibration(arrays["scores"], manifest.alpha, manifest.calibration.rule),
        drift=DriftReference(schema, arrays["drift_edges"], arrays["drift_counts"]),
        golden=Golden(golden["records"], np.array(golden["scores"]), np.array(golden["p_values"])),
    )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        ArtifactError: the folder is no artifact, or its manifest not one that this release reads.
    """
    manifest = Manifest.from_bytes(_manifest_bytes(folder), str(folder))
    if not set(NEEDED) <= set(manifest.sha256):
        raise ArtifactError(f"'{folder}' is damaged: {MANIFEST} must list {', '.join(NEEDED)}.")
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        what = f"has no {MANIFEST}" if folder.exists() else "does not exist"
        raise ArtifactError(f"'{folder}' is not an artifact: it {what}.") from None
    except NotADirectoryError:
        raise ArtifactError(
            f"'{folder}' is not an artifact: it must be a folder, got a file."
        ) from None
    except OSError as error:
        raise ArtifactError(f"'{folder}' must be readable: {error.strerror}.") from error


def read_verified(folder: Path, name: str, digest: str) -> bytes:
    """Return a file of an artifact, if its hash is the one that the manifest lists."""
    if Path(name).name != name:
        raise ArtifactError(f"'{folder}' is damaged: {MANIFEST} names a file outside the folder.")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"'{folder}' is not whole: {name} must be readable: {error.strerror}."
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"'{folder}' is damaged: {name} is not the file that was written.")
    return content
