"""Learned -> Package: the manifest and the files of an artifact, before they have a folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from importlib.metadata import version
from typing import Protocol

import msgspec
import numpy as np
from msgspec.structs import replace
from safetensors.torch import save as save_weights

from vaewatch.scoring.artifact import (
    CALIBRATION,
    GOLDEN,
    MARGINALS,
    NETWORK,
    PRECISION,
    SEEN,
    WEIGHTS,
    pack_calibration,
    pack_golden,
)
from vaewatch.scoring.budget.described import describe
from vaewatch.scoring.budget.own import describe_segments
from vaewatch.scoring.budget.segments import p_values
from vaewatch.scoring.budget.summary import CalibrationSummary, SegmentSummary
from vaewatch.scoring.disk.naming import name_version, now
from vaewatch.scoring.features.state import VectorizerState
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.manifest import (
    Manifest,
    Metrics,
    Run,
    ScoreWeights,
    Settings,
    format_of,
)
from vaewatch.scoring.network import Network
from vaewatch.scoring.score import ScoreRule, score_features
from vaewatch.scoring.series.window import SeriesSummary, Window
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.golden import GOLDEN_RECORDS, make_golden
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.learned import Learned
from vaewatch.training.marginals import Marginals
from vaewatch.training.records.seen import Seen
from vaewatch.training.vae.fit import Fitted


class AnyLearned(Protocol):
    """What every training run learns, whatever it makes of records."""

    @property
    def table(self) -> Table: ...
    @property
    def vectorizer(self) -> Vectorizer: ...
    @property
    def rule(self) -> ScoreRule: ...
    @property
    def config(self) -> TrainConfig: ...
    @property
    def export_difference(self) -> float: ...


@dataclass(frozen=True)
class Made:
    """The files of an artifact, and what its manifest says of them.

    fit_records: that were learned from. trimmed_records: that were kept out of the fit.
    """

    files: Mapping[str, bytes]
    calibration: CalibrationSummary
    fitted: Fitted
    fit_records: int
    trimmed_records: int = 0
    window: Window | None = None
    series: SeriesSummary | None = None


def manifest_of(learned: AnyLearned, made: Made, origin: Origin) -> Manifest:
    """Return the manifest of a training run."""
    schema, config, last = learned.table.schema, learned.config, made.fitted.log[-1]
    return Manifest(
        format_version=format_of(schema, made.window),
        version=name_version(made.files, schema, config.alpha, made.window),
        created_at=now(),
        alpha=config.alpha,
        calibration=made.calibration,
        schema=schema,
        vectorizer=msgspec.convert(learned.vectorizer.to_json(), VectorizerState),
        score=ScoreWeights(*astuple(learned.rule)),
        training=Settings(**asdict(config)),
        metrics=Metrics(
            records=len(learned.table),
            fit_records=made.fit_records,
            trimmed_records=made.trimmed_records,
            features=len(learned.vectorizer.features),
            latent=made.fitted.vae.latent,
            reconstruction_nll=last.reconstruction_nll,
            kl=last.kl,
            export_difference=learned.export_difference,
        ),
        libraries=library_versions(),
        name=origin.name,
        data_fingerprint=origin.data_fingerprint,
        records_given=origin.records_given,
        run=Run(origin.fit_seconds),
        sha256={},  # of the files as they are written
        window=made.window,
        series=made.series,
    )


def pack(learned: Learned, origin: Origin) -> Package:
    """Return the artifact of a training run, without a report."""
    files, split, continued = _files(learned), learned.split, learned.continued
    calibration = describe(learned.calibration, _segments(learned), learned.rule.unseen)
    made = Made(files, calibration, learned.fitted, len(split.fit), len(split.trimmed))
    manifest = replace(
        manifest_of(learned, made, origin),
        parent=continued.parent if continued else None,
        parent_records=int(continued.known.sum()) if continued else None,
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


def library_versions() -> dict[str, str]:
    names = ("vaewatch", "torch", "numpy", "onnxruntime")
    return {name: version(name) for name in names} | {"python": platform.python_version()}
