"""Learned -> Package: the manifest and the files of an artifact, before they have a folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.torch import save as save_weights

from vaewatch.scoring.artifact import (
    CALIBRATION,
    GOLDEN,
    MARGINALS,
    NETWORK,
    PRECISION,
    SEEN,
    WEIGHTS,
    Artifact,
    Golden,
    pack_calibration,
    pack_golden,
    unpack_artifact,
)
from vaewatch.scoring.budget.described import describe
from vaewatch.scoring.budget.own import describe_segments
from vaewatch.scoring.budget.segments import p_values
from vaewatch.scoring.budget.summary import SegmentSummary
from vaewatch.scoring.disk.naming import name_version, now
from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.manifest import (
    Manifest,
    Metrics,
    Run,
    ScoreWeights,
    Settings,
    VectorizerState,
    format_of,
)
from vaewatch.scoring.network import Network
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.score import score_features
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.values import spelled
from vaewatch.training.learned import Learned
from vaewatch.training.marginals import Marginals
from vaewatch.training.records.seen import Seen

GOLDEN_RECORDS = 5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Origin:
    """Where an artifact comes from: its name, its data and the time that the fit took.

    records_given: in the input, before a sample was drawn.
    """

    name: str
    data_fingerprint: str
    records_given: int
    fit_seconds: float


@dataclass(frozen=True)
class Package:
    """An artifact before it has a folder."""

    manifest: Manifest
    files: Mapping[str, bytes]

    def artifact(self) -> Artifact:
        return unpack_artifact(self.manifest, self.files)

    def holding(self, name: str, content: bytes) -> Package:
        """Return the package with one more file."""
        return Package(self.manifest, {**self.files, name: content})

    def taking(self, seconds: float) -> Package:
        """Return the package of a fit that took so many seconds."""
        return Package(replace(self.manifest, run=Run(round(seconds, 3))), self.files)

    def taking_feedback(self, summary: FeedbackSummary) -> Package:
        """Return the package of a fit that left out what people confirmed."""
        return Package(replace(self.manifest, feedback=summary), self.files)

    def with_tail(self, shares: Mapping[str, float]) -> Package:
        """Return the package with the columns that make the tail of the scores."""
        calibration = replace(self.manifest.calibration, tail=dict(shares))
        return Package(replace(self.manifest, calibration=calibration), self.files)


def pack(learned: Learned, origin: Origin) -> Package:
    """Return the artifact of a training run, without a report."""
    files = _files(learned)
    manifest = Manifest(
        format_version=format_of(learned.table.schema),
        version=name_version(files, learned.table.schema, learned.config.alpha),
        created_at=now(),
        alpha=learned.config.alpha,
        calibration=describe(learned.calibration, _segments(learned)),
        schema=learned.table.schema,
        vectorizer=msgspec.convert(learned.vectorizer.to_json(), VectorizerState),
        score=ScoreWeights(*astuple(learned.rule)),
        training=Settings(**asdict(learned.config)),
        metrics=_metrics(learned),
        libraries=library_versions(),
        name=origin.name,
        data_fingerprint=origin.data_fingerprint,
        records_given=origin.records_given,
        run=Run(origin.fit_seconds),
        sha256={},  # of the files as they are written
        parent=learned.continued.parent if learned.continued else None,
        parent_records=int(learned.continued.known.sum()) if learned.continued else None,
        outlook=learned.outlook,
        feedback=learned.feedback,
    )
    return Package(manifest, files)


def _files(learned: Learned) -> dict[str, bytes]:
    """Serialise what was learned; the golden records are the first of those that calibrate."""
    table, split, calibration = learned.table, learned.split, learned.calibration
    segments = learned.segments
    few = table.take(split.calibration[:GOLDEN_RECORDS])
    features = learned.vectorizer.transform(few)
    scores = score_features(Network(learned.graph), learned.rule, features)
    golden = make_golden(few, scores, p_values(scores, few, calibration, segments))
    return {
        NETWORK: learned.graph,
        PRECISION: learned.precision.to_bytes(),
        CALIBRATION: pack_calibration(calibration, learned.drift, segments),
        GOLDEN: pack_golden(golden),
        WEIGHTS: save_weights(learned.fitted.vae.state_dict()),
        MARGINALS: Marginals.of(table.take(split.fit)).to_bytes(),
        SEEN: _seen(learned).to_bytes(),
    }


def _seen(learned: Learned) -> Seen:
    rows, continued = learned.split.fit, learned.continued
    if continued is None or continued.seen is None:
        return Seen.of(learned.table.take(rows))
    new = rows[~continued.known[rows]]
    return continued.seen + Seen.of(learned.table.take(new))


def _segments(learned: Learned) -> tuple[SegmentSummary, ...]:
    segments, table, split = learned.segments, learned.table, learned.split
    if segments is None:
        return ()
    codes = segments.codes(table)
    calibrating = np.union1d(split.calibration, split.own)
    return describe_segments(segments, segments.count(codes), segments.count(codes[calibrating]))


def _metrics(learned: Learned) -> Metrics:
    last = learned.fitted.log[-1]
    return Metrics(
        records=len(learned.table),
        fit_records=len(learned.split.fit),
        trimmed_records=len(learned.split.trimmed),
        features=len(learned.vectorizer.features),
        latent=learned.fitted.vae.latent,
        reconstruction_nll=last.reconstruction_nll,
        kl=last.kl,
        export_difference=learned.export_difference,
    )


def make_golden(few: Table, scores: Floats, p_values: Floats) -> Golden:
    """Return a few records as JSON would carry them, with the (N,) scores and p-values that they
    must get.
    """
    records = [_record(few, row) for row in range(len(few))]
    return Golden(records, scores, p_values)


def _record(few: Table, row: int) -> dict[str, Any]:
    schema = few.schema
    plain = [column for column in schema.columns if column.kind is not Kind.CIRCULAR]
    record: dict[str, Any] = {c.name: few.observed(row, c) for c in plain}
    if schema.time is not None and few.times is not None:
        record[schema.time.column] = spelled(schema.time, int(few.times[row]))
    if schema.entity is not None:
        record[schema.entity] = "golden"  # all are of one; which one is nobody's business
    return record


def library_versions() -> dict[str, str]:
    names = ("vaewatch", "torch", "numpy", "onnxruntime")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
