"""what a Scorer needs <-> a folder, written whole or not at all and verified when it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.segments import POOLED, Segments, p_values
from vaewatch.scoring.budget.summary import SegmentSummary
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.features.absent import check_absent
from vaewatch.scoring.features.between.exclusions import check_exclusions
from vaewatch.scoring.features.between.lookups import check_lookups
from vaewatch.scoring.features.between.relations import check_relations
from vaewatch.scoring.features.levels import check_levels
from vaewatch.scoring.features.limits import check_limits
from vaewatch.scoring.features.shared import check_shared
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.intake.contents import (
    check_calibration,
    check_drift,
    check_features,
    check_golden,
    check_names,
    check_precision,
    check_rule,
    check_schema,
    check_segments,
)
from vaewatch.scoring.intake.once import read_json
from vaewatch.scoring.intake.tensors import read_tensors
from vaewatch.scoring.manifest import MANIFEST, Manifest, json_bytes
from vaewatch.scoring.precision import ARRAYS as PRECISION_ARRAYS
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.series.check import (
    check_directions,
    check_entities,
    check_peaks,
    check_window,
)
from vaewatch.scoring.series.directions import ARRAYS as DIRECTIONS_ARRAYS
from vaewatch.scoring.series.directions import Directions
from vaewatch.scoring.series.entity import KnownEntities
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.table import Table

NETWORK = "network.onnx"
PRECISION = "precision.safetensors"
DIRECTIONS = "directions.safetensors"
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
    DIRECTIONS: "In its place, of windows: the directions along which the VAE sees them.",
    CALIBRATION: "The sorted calibration scores, and the bins of the drift reference; of windows, "
    "the peak scores of normal incidents, hashes of the entities, and the scores that judge new "
    "ones, too.",
    GOLDEN: "A few records with the scores and p-values that they must get.",
    WEIGHTS: "The weights of every member, for torch; scoring does not read them.",
    MARGINALS: "Quantiles of the numeric columns in the fit data, for `vaewatch sample`.",
    SEEN: "Hashes of the fit records: recalibration and `train --from` know them again.",
    FINDINGS: "What the training report is made from.",
    REPORT: "The training report: one page that needs no other file.",
}
NEEDED = (NETWORK, PRECISION, CALIBRATION, GOLDEN)  # to score; the rest may be taken away
NEEDED_OF_WINDOWS = (NETWORK, DIRECTIONS, CALIBRATION, GOLDEN)
CALIBRATION_ARRAYS = ("scores", "drift_edges", "drift_counts")
PEAKS, ENTITIES, OF_NEW = "incident_peaks", "entities", "scores_of_new_entities"
ARRAYS_OF_WINDOWS = (PEAKS, ENTITIES, OF_NEW)  # which some artifacts have
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
    a segment. precision: of single records. directions: of windows, in its place. incident_peaks:
    (K,) of windows, the highest scores of the normal incidents that were counted, ascending; None
    of an artifact of before. entities: of windows, those that the artifact knows; None where there
    is no column of them, or in one of before. of_new: the calibration of other entities; None
    where they are judged as all others.
    """

    manifest: Manifest
    schema: Schema
    vectorizer: Vectorizer
    graph: bytes
    precision: Precision | None
    rule: ScoreRule
    calibration: Calibration
    drift: DriftReference
    golden: Golden
    segments: Segments | None = None
    directions: Directions | None = None
    incident_peaks: NDArray[np.float64] | None = None
    entities: KnownEntities | None = None
    of_new: Calibration | None = None

    @property
    def window(self) -> Window | None:
        """The window that a record is judged with; None if it is judged by itself."""
        return self.manifest.window

    def p_values(self, scores: NDArray[np.float64], table: Table) -> NDArray[np.float64]:
        """Return the p-values of a table's (N,) scores."""
        return p_values(scores, table, self.calibration, self.segments)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version


def needed(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the files that scoring needs."""
    return NEEDED if manifest.window is None else NEEDED_OF_WINDOWS


def pack_calibration(
    calibration: Calibration,
    drift: DriftReference,
    segments: Segments | None = None,
    peaks: NDArray[np.float64] | None = None,
    entities: KnownEntities | None = None,
    of_new: Calibration | None = None,
) -> bytes:
    """Return the arrays of an artifact that change when it is recalibrated, as safetensors; see
    `Artifact` for what they are.
    """
    arrays: dict[str, NDArray[Any]] = {
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
    if peaks is not None:
        arrays[PEAKS] = peaks
    if entities is not None:
        arrays[ENTITIES] = entities.hashes
    if of_new is not None:
        arrays[OF_NEW] = of_new.scores
    return save_tensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def pack_golden(golden: Golden) -> bytes:
    scores, p_values = golden.scores.tolist(), golden.p_values.tolist()
    return json_bytes({"records": golden.records, "scores": scores, "p_values": p_values})


def unpack_artifact(manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Return what a manifest and its files hold, ready to score.

    Raises:
        ArtifactError: a part cannot be what training makes.
    """
    schema, score = manifest.schema, manifest.score
    check_names(manifest)
    check_schema(schema)
    vectorizer = Vectorizer.from_json(schema, msgspec.structs.asdict(manifest.vectorizer))
    _check_vectorizer(schema, vectorizer)
    wanted = CALIBRATION_ARRAYS if schema.segment is None else CALIBRATION_ARRAYS + SEGMENT_ARRAYS
    optional = () if manifest.window is None else ARRAYS_OF_WINDOWS
    arrays = read_tensors(files[CALIBRATION], CALIBRATION, wanted, optional)
    check_calibration(arrays["scores"], manifest.calibration.n)
    check_rule(score.unseen, score.kl_weight, score.neighbour_weight, score.newest)
    precision = directions = None
    if manifest.window is None:
        parts = read_tensors(files[PRECISION], PRECISION, PRECISION_ARRAYS)
        precision = Precision(*(parts[name] for name in PRECISION_ARRAYS))
        check_precision(precision, len(vectorizer.features))
    else:
        check_window(manifest.window, vectorizer)
        check_peaks(arrays.get(PEAKS), manifest.calibration.n)
        new = manifest.new_entities
        check_entities(arrays.get(ENTITIES), schema, wanted=new is not None)
        if new is not None:
            check_calibration(arrays.get(OF_NEW, np.empty(0)), new.n)
        parts = read_tensors(files[DIRECTIONS], DIRECTIONS, DIRECTIONS_ARRAYS)
        directions = Directions(*(parts[name] for name in DIRECTIONS_ARRAYS))
        width = manifest.window.width(len(vectorizer.features))
        check_directions(directions, manifest.window.size * width)
    check_drift(schema, arrays["drift_edges"], arrays["drift_counts"])
    summary = manifest.calibration
    calibration = Calibration(arrays["scores"], manifest.alpha, summary.rule, summary.entities)
    golden = read_json(files[GOLDEN], GOLDEN)
    check_golden(golden, 0 if manifest.window is None else manifest.window.size - 1)
    return Artifact(
        manifest=manifest,
        schema=schema,
        vectorizer=vectorizer,
        graph=files[NETWORK],
        precision=precision,
        rule=ScoreRule(score.unseen, score.kl_weight, score.neighbour_weight, score.newest),
        calibration=calibration,
        drift=DriftReference(schema, arrays["drift_edges"], arrays["drift_counts"]),
        golden=Golden(golden["records"], np.array(golden["scores"]), np.array(golden["p_values"])),
        segments=_segments_of(schema, arrays, calibration, manifest.calibration.segments),
        directions=directions,
        incident_peaks=arrays.get(PEAKS),
        entities=KnownEntities(arrays[ENTITIES]) if ENTITIES in arrays else None,
        of_new=_of_new(manifest, arrays),
    )


def _check_vectorizer(schema: Schema, vectorizer: Vectorizer) -> None:
    features = vectorizer.features
    check_features(schema, features, vectorizer.constants)
    check_shared(schema, features, vectorizer.shared)
    check_limits(features, vectorizer.limits)
    check_levels(features, vectorizer.levels, vectorizer.whole)
    check_absent(schema, vectorizer.absent)
    check_relations(features, vectorizer.relations)
    check_exclusions(schema, features, vectorizer.levels, vectorizer.exclusions, vectorizer.zeros)
    check_lookups(schema, features, vectorizer.levels, vectorizer.lookups)


def _of_new(manifest: Manifest, arrays: Mapping[str, NDArray[Any]]) -> Calibration | None:
    summary = manifest.new_entities
    if summary is None:
        return None
    return Calibration(arrays[OF_NEW], manifest.alpha, summary.rule)


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
