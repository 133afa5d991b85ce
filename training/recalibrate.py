"""artifact, new normal records -> artifact: a new calibration, the same weights and graph.

The network was not fitted to the new records, so theirs is a split calibration, whose interval is
exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.artifact import (
    CALIBRATION,
    FINDINGS,
    GOLDEN,
    REPORT,
    check_target,
    pack_calibration,
    pack_golden,
    read_files,
    write_artifact,
)
from vaewatch.scoring.calibration import SPLIT, Calibration, check_alpha
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate, describe, fit_drift
from vaewatch.training.export.package import (
    GOLDEN_RECORDS,
    Package,
    make_golden,
    name_version,
    now,
)
from vaewatch.training.records.read import fingerprint
from vaewatch.training.report.make import with_report


@dataclass(frozen=True)
class Rates:
    """Alarm rates of one calibration at its own alpha, as shares: of the records that made the old
    calibration, and of the new normals.
    """

    on_old: float
    on_new: float


@dataclass(frozen=True)
class Recalibrated:
    """The new Scorer, and the alarm rates before and after the change."""

    scorer: Scorer
    before: Rates
    after: Rates


def recalibrate(
    path: Path, frame: pl.DataFrame, out: Path, *, alpha: float | None = None, overwrite: bool
) -> Recalibrated:
    """Write an artifact that differs in its calibration, drift reference and golden records.

    Raises:
        SettingError: no number of records could certify alpha.
        CalibrationError: the records are too few for alpha, or are those of the training run.
    """
    check_target(out, overwrite=overwrite)
    old = Scorer.load(path)
    alpha = old.artifact.calibration.alpha if alpha is None else alpha
    check_alpha(alpha, len(frame))
    data_fingerprint = fingerprint(frame)
    if data_fingerprint == old.artifact.manifest.data_fingerprint:
        raise CalibrationError(
            "the normals must be records that the network was not fitted to, got those of its "
            "training run. Give newer ones; to change alpha alone, pass --alpha to vaewatch score."
        )
    table = checked_table(old.artifact.schema, frame)
    scores = old.score_table(table, explain=0).score
    calibration = calibrate(scores, alpha, SPLIT)
    files = _files(read_files(path, old.artifact.manifest), table, scores, calibration)
    manifest = msgspec.structs.replace(
        old.artifact.manifest,
        version=name_version(files, table.schema, alpha),
        created_at=now(),
        alpha=alpha,
        calibration=describe(calibration),
        name=out.name,
        parent=old.artifact.version,
        calibration_fingerprint=data_fingerprint,
    )
    package = Package(manifest, files)
    if FINDINGS in files:
        package = with_report(package)
    write_artifact(out, package.manifest, package.files, overwrite=overwrite)
    before = _rates(old.artifact.calibration, old.artifact.calibration, scores)
    after = _rates(calibration, old.artifact.calibration, scores)
    return Recalibrated(Scorer.load(out), before, after)


def _files(
    old: Mapping[str, bytes], table: Table, scores: NDArray[np.float64], calibration: Calibration
) -> dict[str, bytes]:
    """Return the old files with those of the new calibration, and without the old report."""
    few = table.take(np.arange(min(GOLDEN_RECORDS, len(table))))
    return {name: content for name, content in old.items() if name != REPORT} | {
        CALIBRATION: pack_calibration(calibration, fit_drift(table)),
        GOLDEN: pack_golden(make_golden(few, scores[: len(few)], calibration)),
    }


def _rates(by: Calibration, old: Calibration, new: NDArray[np.float64]) -> Rates:
    def rate(scores: NDArray[np.float64]) -> float:
        return float(by.alarms(by.p_values(scores)).mean())

    return Rates(rate(old.scores), rate(new))
