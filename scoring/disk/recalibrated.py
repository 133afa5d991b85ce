"""artifact, new calibration -> manifest and files of one that differs in nothing else.

The weights of the network and its graph are the parent's, and so is a score, unless feedback has
changed what its parts weigh.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import (
    CALIBRATION,
    GOLDEN,
    REPORT,
    Artifact,
    Golden,
    pack_calibration,
    pack_golden,
)
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.described import describe, describe_blocks
from vaewatch.scoring.budget.segments import Segments, p_values
from vaewatch.scoring.budget.summary import CalibrationSummary, SegmentSummary
from vaewatch.scoring.disk.naming import name_version, now
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.incidents.feedback import FeedbackSummary
from vaewatch.scoring.manifest import Manifest, ScoreWeights
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.series.entity import KnownEntities
from vaewatch.scoring.series.window import SeriesSummary
from vaewatch.scoring.table import table_of
from vaewatch.scoring.time.blocks import Outlook


@dataclass(frozen=True)
class Renewal:
    """What a recalibration changes.

    fingerprint: SHA-256, in hex, of what calibrates: the records, or their scores alone.
    segments, summaries: of an artifact with a segment, the calibrations of single segments, and
        what they promise.
    outlook: what blocks of time foretell of the new budget; None where it is not known.
    series: of an artifact with a window, what its new budget means; None where it is not known.
    peaks: (K,) of one with a window, the highest scores of normal incidents; None where they are
        not known.
    entities: of one with a window, those that it knows; None where there is no column of them.
    of_new: the calibration of other entities; None where they are judged as all others.
    feedback, rule: what was taken from it, and the rule of the score since; None for the parent's.
    """

    calibration: Calibration
    drift: DriftReference
    golden: Golden
    fingerprint: str
    segments: Segments | None = None
    summaries: tuple[SegmentSummary, ...] = ()
    outlook: Outlook | None = None
    series: SeriesSummary | None = None
    feedback: FeedbackSummary | None = None
    rule: ScoreRule | None = None
    peaks: NDArray[np.float64] | None = None
    entities: KnownEntities | None = None
    of_new: Calibration | None = None

    @classmethod
    def of_scores(
        cls,
        old: Artifact,
        calibration: Calibration,
        segments: Segments | None = None,
        summaries: tuple[SegmentSummary, ...] = (),
    ) -> Renewal:
        """Return the renewal where only scores are known: the parent's drift reference and golden
        records stay, these with their new p-values. Nothing is foretold of blocks of time.
        """
        golden, digest = old.golden, hashlib.sha256(calibration.scores.tobytes())
        for own in segments.own_scores if segments else ():
            digest.update(own.tobytes())
        p = p_values(golden.scores, table_of(old.schema, golden.records), calibration, segments)
        renewed = Golden(golden.records, golden.scores, p)
        return cls(
            calibration,
            old.drift,
            renewed,
            digest.hexdigest(),
            segments,
            summaries,
            entities=old.entities,
            of_new=old.of_new,
        )


@dataclass(frozen=True)
class NewArtifact:
    """Its manifest and its files, without a report."""

    manifest: Manifest
    files: dict[str, bytes]


def recalibrated(
    parent: Manifest, files: Mapping[str, bytes], renewal: Renewal, name: str
) -> NewArtifact:
    """Return the new artifact. `files`: the parent's. `name`: what the new one is called."""
    calibration, series = renewal.calibration, renewal.series or parent.series
    score = ScoreWeights(*astuple(renewal.rule)) if renewal.rule else parent.score
    new = {file: content for file, content in files.items() if file != REPORT} | {
        CALIBRATION: pack_calibration(
            calibration,
            renewal.drift,
            renewal.segments,
            renewal.peaks,
            renewal.entities,
            renewal.of_new,
        ),
        GOLDEN: pack_golden(renewal.golden),
    }
    manifest = msgspec.structs.replace(
        parent,
        version=name_version(new, parent.schema, calibration.alpha, parent.window),
        created_at=now(),
        alpha=calibration.alpha,
        calibration=_described(calibration, renewal, series, score),
        name=name,
        parent=parent.version,
        calibration_fingerprint=renewal.fingerprint,
        parent_records=None,
        outlook=renewal.outlook,
        series=series,
        new_entities=_of_new(calibration.alpha, renewal, series),
        feedback=renewal.feedback or parent.feedback,
        score=score,
    )
    return NewArtifact(manifest, new)


def _described(
    calibration: Calibration,
    renewal: Renewal,
    series: SeriesSummary | None,
    score: ScoreWeights,
) -> CalibrationSummary:
    if series is None:
        return describe(calibration, renewal.summaries, score.unseen)
    return describe_blocks(calibration, series.blocks)


def _of_new(
    alpha: float, renewal: Renewal, series: SeriesSummary | None
) -> CalibrationSummary | None:
    if renewal.of_new is None or series is None or series.blocks_of_new is None:
        return None
    calibration = replace(renewal.of_new, alpha=alpha)
    return describe_blocks(calibration, series.blocks_of_new, by_entity=True)
