"""what a Scorer needs <-> a folder, written whole or not at all and verified when it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save as save_tensors

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.segments import POOLED, Segments, p_values
from vaewatch.scoring.budget.summary import SegmentSummary
from vaewatch.scoring.disk.exchange import while_replaced
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.errors import ArtifactError, ScoringError
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.intake.contents import (
    check_calibration,
    check_counts,
    check_drift,
    check_features,
    check_golden,
    check_names,
    check_precision,
    check_rule,
    check_schema,
    check_segments,
)
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.intake.folder import Folder, opened_folder, require_name
from vaewatch.scoring.intake.once import read_json
from vaewatch.scoring.intake.tensors import read_tensors
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.manifest import MANIFEST, Manifest, json_bytes
from vaewatch.scoring.precision import ARRAYS as PRECISION_ARRAYS
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.table import Table

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
MOST_FILES = 100
CALIBRATION_ARRAYS = ("scores", "drift_edges", "drift_counts")
SEGMENT_ARRAYS = ("segment_codes", "segment_sizes", "segment_scores")


@dataclass(frozen=True)
class Golden:
    """A few records with the scores and p-values that they must get."""

    records: list[dict[str, Any]]
    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]


@dataclass(frozen=True)
class Artifact:
    """All that scoring needs, as read from a folder; the manifest is for people.

    calibration: of all records together. segments: those of single segments, where the schema has
    a segment.
    """

    manifest: Manifest
    schema: Schema
    vectorizer: Vectorizer
    graph: bytes
    precision: Precision
    rule: ScoreRule
    calibration: Calibration
    drift: DriftReference
    golden: Golden
    segments: Segments | None = None

    def p_values(self, scores: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
        """Return the p-values of a table's (N,) scores."""
        return p_values(scores, table, self.calibration, self.segments)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version


def pack_calibration(
    calibration: Calibration, drift: DriftReference, segments: Segments | None = None
) -> bytes:
    """Return the arrays of an artifact that change when it is recalibrated, as safetensors."""
    arrays = {
        "scores": calibration.scores,
        "drift_edges": drift.edges,
        "drift_counts": drift.counts,
    }
    if segments is not None:
        own = list(segments.own.values())
        arrays |= {
            "segment_codes": np.array(list(segments.own), np.int64),
            "segment_sizes": np.array([each.n for each in own], np.int64),
            "segment_scores": np.concatenate([np.empty(0), *(each.scores for each in own)]),
        }
    return save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def pack_golden(golden: Golden) -> bytes:
    scores, p_values = golden.scores.tolist(), golden.p_values.tolist()
    return json_bytes({"records": golden.records, "scores": scores, "p_values": p_values})


@while_replaced
def read_artifact(path: Path | str) -> Artifact:
    """Read a folder, and check its format version, every hash, and all that scoring rests on.

    Raises:
        ArtifactError: it is no artifact, not whole, or not as it was written.
    """
    with opened_folder(Path(path)) as folder:
        manifest = _manifest_of(folder)
        files = {name: _verified(folder, name, manifest.sha256[name]) for name in NEEDED}
        for name in set(manifest.sha256) - set(NEEDED):
            _require_as_written(folder, name, manifest.sha256[name])
    try:
        return unpack_artifact(manifest, files)
    except ArtifactError as error:
        raise ArtifactError(f"'{path}' is damaged: {one_line(error)}") from error
    except (*BROKEN, ScoringError, SafetensorError) as error:
        raise damaged(path, error) from error


def read_files(path: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return every file that the manifest lists, each with the hash that it had when written.

    Files that scoring does not need may have been taken away, to make an image smaller; those that
    are there must be as they were written.
    """
    with opened_folder(path) as folder:
        return {
            name: _verified(folder, name, digest)
            for name, digest in manifest.sha256.items()
            if name in NEEDED or _is_there(folder, name)
        }


def _is_there(folder: Folder, name: str) -> bool:
    require_name(folder.path, name)
    return folder.has(name)


def unpack_artifact(manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Return what a manifest and its files hold, ready to score.

    Raises:
        ArtifactError: a part cannot be what training makes.
    """
    schema, score = manifest.schema, manifest.score
    check_names(manifest)
    check_schema(schema)
    vectorizer = Vectorizer.from_json(schema, msgspec.structs.asdict(manifest.vectorizer))
    check_features(schema, vectorizer.features, vectorizer.constants)
    wanted = CALIBRATION_ARRAYS if schema.segment is None else CALIBRATION_ARRAYS + SEGMENT_ARRAYS
    arrays = read_tensors(files[CALIBRATION], CALIBRATION, wanted)
    check_calibration(arrays["scores"], manifest.calibration.n)
    check_rule(score.unseen, score.kl_weight, score.neighbour_weight)
    parts = read_tensors(files[PRECISION], PRECISION, PRECISION_ARRAYS)
    precision = Precision(*(parts[name] for name in PRECISION_ARRAYS))
    check_precision(precision, len(vectorizer.features))
    check_drift(schema, arrays["drift_edges"], arrays["drift_counts"])
    calibration = Calibration(arrays["scores"], manifest.alpha, manifest.calibration.rule)
    golden = read_json(files[GOLDEN], GOLDEN)
    check_golden(golden)
    return Artifact(
        manifest=manifest,
        schema=schema,
        vectorizer=vectorizer,
        graph=files[NETWORK],
        precision=precision,
        rule=ScoreRule(score.unseen, score.kl_weight, score.neighbour_weight),
        calibration=calibration,
        drift=DriftReference(schema, arrays["drift_edges"], arrays["drift_counts"]),
        golden=Golden(golden["records"], np.array(golden["scores"]), np.array(golden["p_values"])),
        segments=_segments_of(schema, arrays, calibration, manifest.calibration.segments),
    )


def _segments_of(
    schema: Schema,
    arrays: Mapping[str, NDArray[Any]],
    pooled: Calibration,
    summaries: Sequence[SegmentSummary],
) -> Segments | None:
    if schema.segment is None:
        return None
    codes, sizes, scores = (arrays[name] for name in SEGMENT_ARRAYS)
    check_segments(schema, codes, sizes, scores)
    each = np.split(scores, np.cumsum(sizes)[:-1]) if len(sizes) else []
    own = zip(codes.tolist(), each, strict=True)
    alpha, rule = pooled.alpha, pooled.rule
    calibrations = {code: Calibration(own, alpha, rule) for code, own in own}
    rest = [each.n for each in summaries if each.calibration == POOLED] if summaries else None
    return Segments(schema, calibrations, pooled, None if rest is None else sum(rest))


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        ArtifactError: the folder is no artifact, or its manifest not one that this release reads.
    """
    with opened_folder(path) as folder:
        return _manifest_of(folder)


def read_manifest_bytes(path: Path) -> bytes:
    """Return the manifest of a folder as it was written, with keys of a later release."""
    with opened_folder(path) as folder:
        return _manifest_bytes(folder)


def _manifest_of(folder: Folder) -> Manifest:
    place = folder.path
    content = _manifest_bytes(folder)
    manifest = Manifest.from_bytes(content, str(place))
    try:
        read_json(content, MANIFEST)  # no key twice, which msgspec takes
        check_counts(manifest)
    except ArtifactError as error:
        raise ArtifactError(f"'{place}' is damaged: {error}") from None
    if not set(NEEDED) <= set(manifest.sha256):
        raise ArtifactError(f"'{place}' is damaged: {MANIFEST} must list {', '.join(NEEDED)}.")
    if len(manifest.sha256) > MOST_FILES:
        raise ArtifactError(
            f"'{place}' is damaged: {MANIFEST} must list at most {MOST_FILES} files, got "
            f"{len(manifest.sha256):,}."
        )
    return manifest


def _manifest_bytes(folder: Folder) -> bytes:
    if not folder.has(MANIFEST):
        raise ArtifactError(f"'{folder.path}' is not an artifact: it has no {MANIFEST}.")
    return folder.read(MANIFEST)


def read_verified(path: Path, name: str, digest: str) -> bytes:
    """Return a file of an artifact, if its hash is the one that the manifest lists."""
    with opened_folder(path) as folder:
        return _verified(folder, name, digest)


def read_kept(path: Path, name: str) -> bytes | None:
    """Return a file that scoring does not need, verified; None if it has been taken away."""
    with opened_folder(path) as folder:
        digest = _manifest_of(folder).sha256.get(name)
        if digest is None or not _is_there(folder, name):
            return None
        return _verified(folder, name, digest)


def _verified(folder: Folder, name: str, digest: str) -> bytes:
    content = folder.read(name)
    _require_hash(folder, name, hashlib.sha256(content).hexdigest() == digest)
    return content


def _require_as_written(folder: Folder, name: str, digest: str) -> None:
    """Check a file that is not needed, if it is there, without holding it."""
    if _is_there(folder, name):
        _require_hash(folder, name, folder.digest(name) == digest)


def _require_hash(folder: Folder, name: str, holds: bool) -> None:
    if not holds:
        raise ArtifactError(
            f"'{folder.path}' is damaged: {name} is not the file that was written."
        )
