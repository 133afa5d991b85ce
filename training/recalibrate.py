"""artifact, new normal records -> artifact: a new calibration, the same weights and graph.

The network was not fitted to the new records, so theirs is a split calibration, whose interval is
exact. The promise would hold even for a network that no longer tells anomalies from these records,
so nothing is written unless they are still found (see `vaewatch.training.calibration.detection`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.artifact import FINDINGS
from vaewatch.scoring.budget.calibration import Calibration, check_alpha
from vaewatch.scoring.budget.described import words_of_passing
from vaewatch.scoring.disk.lock import made_folder, sole_writer
from vaewatch.scoring.disk.reading import read_files
from vaewatch.scoring.disk.recalibrated import recalibrated
from vaewatch.scoring.disk.versions import KEEP, check_target, write_artifact
from vaewatch.scoring.errors import CalibrationError, SettingError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.detection import Comparison, Detection, Found, Labelled
from vaewatch.training.calibration.renewed import New, Renewed, SegmentChange, changes_of
from vaewatch.training.calibration.side import Codes, Side
from vaewatch.training.config import RECENT
from vaewatch.training.export.package import Package
from vaewatch.training.feedback.given import Feedback, leave_out
from vaewatch.training.feedback.marks import Mark
from vaewatch.training.feedback.matched import Keys
from vaewatch.training.feedback.renew import heed
from vaewatch.training.records.entities import entities_of
from vaewatch.training.records.labels import read_labels
from vaewatch.training.records.read import fingerprint
from vaewatch.training.records.seen import load_seen
from vaewatch.training.report.make import with_report
from vaewatch.training.series.recalibrate import renew_series
from vaewatch.training.split.order import latest
from vaewatch.training.split.split import recent_size
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.threads import computing_on

log = logging.getLogger("vaewatch.training")

LEAST_ENTITIES = 2  # that calibrate where whole ones did so for the fit

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Rates:
    """Alarm rates of one calibration at its own alpha, as shares: of the records that made the old
    calibration, and of the new normals.
    """

    on_old: float
    on_new: float


@dataclass(frozen=True)
class Recalibrated:
    """The new Scorer, the alarm rates before and after the change, and what is still found.

    left_out: records that the network was fitted to, so that they do not calibrate.
    segments: of an artifact with a segment, what changed for each.
    heeded: whether there was feedback. The rates and what is found are those before its weights.
    """

    scorer: Scorer
    before: Rates
    after: Rates
    detection: Detection
    left_out: int
    segments: tuple[SegmentChange, ...] = ()
    heeded: bool = False


@dataclass(frozen=True)
class Recalibration:
    """What is asked of a recalibration.

    Attributes:
        alpha: the false-alarm rate; the old artifact's by default.
        calibrate_on: "recent" for the latest share of the records alone; "all" for all of them.
        labelled: records on which recall is measured, too.
        label: the column of their labels; that of the artifact by default, else 'label'.
        normal_labels: those that mean normal, if they are others than `read_labels` knows.
        accept_lost_detection: whether to write an artifact that no longer finds anomalies.
        marks: what people said of alarms. Records of confirmed incidents are left out, and what
            the parts of the score weigh is learned, where that shows a gain.
        overwrite: whether an artifact that is there may be replaced.
        keep: how many of the artifacts that were replaced to keep, for `vaewatch rollback`.
    """

    alpha: float | None = None
    calibrate_on: str = "all"
    labelled: pl.DataFrame | None = None
    label: str | None = None
    normal_labels: Sequence[str] = ()
    accept_lost_detection: bool = False
    marks: Sequence[Mark] | None = None
    overwrite: bool = False
    keep: int = KEEP


@dataclass(frozen=True)
class _Input:
    """The records that may calibrate, without those of confirmed incidents."""

    frame: pl.DataFrame
    table: Table
    fingerprint: str
    feedback: Feedback | None


def recalibrate(path: Path, frame: pl.DataFrame, out: Path, asked: Recalibration) -> Recalibrated:
    """Write an artifact that differs in its calibration, drift reference and golden records.

    Args:
        path: the artifact to recalibrate.
        frame: normal records that its network was not fitted to.
        out: the folder to write.

    Raises:
        SettingError: the artifact has no time, so that no records are the latest; or no number of
            records could certify alpha, or another run writes to `out`.
        CalibrationError: the records are too few for alpha, or are those of the training run, or
            it cannot be told which of them are; or the new calibration would no longer find
            anomalies that the old one finds.
    """
    check_target(out, overwrite=asked.overwrite)
    with made_folder(out.absolute().parent), sole_writer(out), computing_on(1):
        old = Scorer.load(path)
        given = _read(old, frame, asked)
        renew = _renew if old.artifact.window is None else _renew_windows
        made = renew(old, path, given, asked)
        detection = made.detection
        if asked.labelled is not None:
            known = _labelled(made.comparison, asked.labelled, asked.label, asked.normal_labels)
            detection = replace(detection, labelled=known)
        if not asked.accept_lost_detection:
            _require_found(detection, refit(old, path))
        if given.feedback is not None:
            made = heed(given.feedback, given.frame, old, given.table, made)
        _write(old, path, out, made, asked)
        before, after = (
            _rates(side, old.artifact.calibration, made.scores, made.codes)
            for side in (made.comparison.old, made.comparison.new)
        )
        return Recalibrated(
            Scorer.load(out),
            before,
            after,
            detection,
            made.left_out,
            made.changes,
            given.feedback is not None,
        )


def _read(old: Scorer, frame: pl.DataFrame, asked: Recalibration) -> _Input:
    feedback = None
    if asked.marks is not None:
        feedback, rows = leave_out(asked.marks, frame, Keys.of_schema(old.artifact.schema))
        frame = frame[rows]
    check_alpha(_alpha(old, asked), len(frame))
    data_fingerprint = fingerprint(frame)
    if data_fingerprint == old.artifact.manifest.data_fingerprint:
        raise CalibrationError(
            "the normals must be records that the network was not fitted to, got those of its "
            "training run. Give newer ones; to change alpha alone, pass --alpha to vaewatch score."
        )
    table = checked_table(old.artifact.schema, frame)
    return _Input(frame, table, data_fingerprint, feedback)


def _alpha(old: Scorer, asked: Recalibration) -> float:
    return old.artifact.calibration.alpha if asked.alpha is None else asked.alpha


def _write(old: Scorer, path: Path, out: Path, made: Renewed, asked: Recalibration) -> None:
    files = read_files(path, old.artifact.manifest)
    new = recalibrated(old.artifact.manifest, files, made.renewal, out.name)
    package = Package(new.manifest, new.files)
    if passing := words_of_passing(new.manifest.calibration, new.manifest.alpha):
        log.warning("%s", passing)
    if FINDINGS in new.files:
        package = with_report(package)
    write_artifact(
        out, package.manifest, package.files, overwrite=asked.overwrite, keep=asked.keep
    )


def _renew_windows(old: Scorer, path: Path, given: _Input, asked: Recalibration) -> Renewed:
    """Calibrate an artifact that judges records with those before them."""
    if asked.calibrate_on == RECENT:
        raise SettingError(
            "--calibrate recent cannot be used with a window: give the latest records alone."
        )
    return renew_series(old, given.table, path, asked.alpha, given.fingerprint)


def _renew(old: Scorer, path: Path, given: _Input, asked: Recalibration) -> Renewed:
    """Calibrate an artifact that judges each record by itself."""
    alpha = _alpha(old, asked)
    rows = _unseen(given.table, path, alpha)
    table, left_out = given.table.take(rows), len(given.table) - len(rows)
    if asked.calibrate_on == RECENT:
        rows = rows[_latest(table, alpha)]
        table = given.table.take(rows)
    scores = old.score_table(table, explain=0).score
    made = New.of(old, table, scores, alpha, _entities(old, given.frame, rows))
    comparison = Comparison.of(old, made.calibration, made.segments)
    return Renewed(
        scores,
        comparison,
        comparison.detection(table, scores),
        made.renewal(given.fingerprint),
        left_out,
        comparison.codes(table),
        changes_of(old.artifact.segments, made),
        rows,
    )


def _unseen(table: Table, path: Path, alpha: float) -> Rows:
    """Return the rows of records that the artifact's weights were not fitted to."""
    seen = load_seen(path)
    again = np.zeros(len(table), np.bool_) if seen is None else seen.find(table)
    try:
        check_alpha(alpha, int((~again).sum()))
    except CalibrationError as error:
        raise CalibrationError(
            f"{again.sum():,} of the {len(table):,} records are left out: the network was fitted "
            f"to them. Of the rest, {error}"
        ) from None
    return np.flatnonzero(~again)


def _entities(old: Scorer, frame: pl.DataFrame, rows: Rows) -> list[str] | None:
    """Return whose the records in some rows of a frame are, where the fit held out whole entities;
    None where it did not, or the frame does not say.
    """
    name = old.artifact.manifest.training.entity
    if old.artifact.calibration.entities is None or name is None:
        return None
    if name not in frame.columns:
        log.warning(
            "the records lack column '%s', so that each counts as of another entity: the interval "
            "of the true rate is too narrow where several are of one. Add the column.",
            name,
        )
        return None
    entities = entities_of(frame[rows], name)
    if len(set(entities)) < LEAST_ENTITIES:
        raise CalibrationError(
            f"the records must be of {LEAST_ENTITIES} entities at least, got {len(set(entities))} "
            f"in column '{name}': one says nothing of how others differ from it. Give records of "
            "more, better of dozens."
        )
    return entities


def _latest(table: Table, alpha: float) -> Rows:
    """Return the rows of the latest share, as many as a fit would hold out of so many."""
    if table.times is None:
        raise SettingError(
            "--calibrate recent takes a time, and the artifact has none: train it with --time."
        )
    size = recent_size(len(table), alpha)
    chosen = latest(table.times, size, stream(0, Stream.ORDER))
    return np.flatnonzero(chosen)


def _labelled(
    comparison: Comparison, frame: pl.DataFrame, label: str | None, normal: Sequence[str]
) -> Labelled:
    schema = comparison.scorer.artifact.schema
    name = label or schema.label or "label"
    labels = read_labels(frame, name, normal, some_normal=False)
    return comparison.labelled(checked_table(schema, frame), labels.anomaly)


def refit(scorer: Scorer, path: Path) -> str:
    """Return the command that fits to old and new normals; one of windows begins anew."""
    return "vaewatch train OLD NEW" + (f" --from {path}" if scorer.artifact.window is None else "")


def _require_found(detection: Detection, command: str) -> None:
    worst = detection.worst()
    if worst is not None:
        raise CalibrationError(_refusal(*worst, command))


def _refusal(detection: Detection, worst: str, found: Found, command: str) -> str:
    return (
        f"the new calibration must still find anomalies, but it finds {found.after:.1%} of the "
        f"{worst}, where the old one finds {found.before:.1%}: the threshold at alpha "
        f"{detection.alpha:g} would rise from {detection.old_threshold:.4g} to "
        f"{detection.new_threshold:.4g} nats. {detection.alarms:.1%} of these normals "
        "alarm now: they differ from those of the fit, or there are anomalies among them. Nothing "
        f"was written. Fit to old and new normals: {command}. To write it all the same, pass "
        "--accept-lost-detection."
    )


def _rates(by: Side, old: Calibration, new: NDArray[np.float64], codes: Codes | None) -> Rates:
    alpha = by.pooled.alpha
    rates = (by.pooled.alarms(by.pooled.p_values(old.scores)), by.alarms(new, codes, alpha))
    return Rates(*(float(alarms.mean()) for alarms in rates))
