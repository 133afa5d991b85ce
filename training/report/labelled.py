"""Scorer, labelled records, perhaps fit records -> Labelled: what it and its peers find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from vaewatch.scoring.scorer import Scorer
from vaewatch.training.bounds import Bounds
from vaewatch.training.evaluate import Evaluation, evaluate
from vaewatch.training.progress import Progress, silent
from vaewatch.training.records.labels import read_labels
from vaewatch.training.records.read import fingerprint
from vaewatch.training.report.peers import Judged, judge_peers
from vaewatch.training.vae.threads import computing_on

ALPHAS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)


@dataclass(frozen=True)
class Figures:
    """One detector's figures at the artifact's alpha, as shares; None if a label is absent."""

    name: str
    auroc: float | None
    auprc: float | None
    recall: float | None
    false_alarm_rate: float | None


@dataclass(frozen=True)
class Labelled:
    """What labelled records show; N records.

    evaluation: as `vaewatch evaluate` gives it for the same file. at: the same at other alphas.
    anomaly, p_values: (N,). judged: vaewatch first, then its peers. same_fit: whether the peers
    were fitted to the artifact's own records; None without peers.
    """

    evaluation: Evaluation
    at: tuple[Evaluation, ...]
    anomaly: NDArray[np.bool_]
    p_values: NDArray[np.float64]
    judged: tuple[Judged, ...]
    same_fit: bool | None

    @property
    def both(self) -> bool:
        """Whether there are anomalies as well as normals, as a curve needs."""
        return bool(self.anomaly.any()) and not bool(self.anomaly.all())

    def figures(self) -> list[Figures]:
        return [figures_of(judged, self.anomaly) for judged in self.judged]


def figures_of(judged: Judged, anomaly: NDArray[np.bool_]) -> Figures:
    both = bool(anomaly.any()) and not bool(anomaly.all())
    return Figures(
        judged.name,
        float(roc_auc_score(anomaly, judged.scores)) if both else None,
        float(average_precision_score(anomaly, judged.scores)) if both else None,
        float(judged.alarms[anomaly].mean()) if anomaly.any() else None,
        float(judged.alarms[~anomaly].mean()) if not anomaly.all() else None,
    )


def judge(
    scorer: Scorer,
    frame: pl.DataFrame,
    label: str,
    *,
    normal_labels: Sequence[str] = (),
    normal: pl.DataFrame | None = None,
    bounds: Callable[[NDArray[np.float32]], Bounds] | None = None,
    progress: Progress = silent,
) -> Labelled:
    """Score the labelled records, and fit the peers to the `normal` ones if they are given."""
    artifact = scorer.artifact
    labels = read_labels(frame, label, normal_labels)
    verdicts = scorer.score(frame, explain=0)
    judged = [Judged("vaewatch", verdicts.score, verdicts.is_anomaly)]
    if normal is not None:
        alpha = artifact.calibration.alpha
        with computing_on(1):
            judged += judge_peers(artifact, normal, frame, alpha, progress)
    return Labelled(
        evaluation=evaluate(scorer, frame, labels, bounds=bounds),
        at=tuple(evaluate(scorer, frame, labels, alpha) for alpha in _alphas(scorer)),
        anomaly=labels.anomaly,
        p_values=verdicts.p_value,
        judged=tuple(judged),
        same_fit=None if normal is None else _same(scorer, normal),
    )


def _alphas(scorer: Scorer) -> Sequence[float]:
    calibration = scorer.artifact.calibration
    every = sorted({*ALPHAS, calibration.alpha}, reverse=True)
    return [alpha for alpha in every if calibration.threshold(alpha) is not None]


def _same(scorer: Scorer, normal: pl.DataFrame) -> bool:
    return scorer.artifact.manifest.data_fingerprint == fingerprint(normal)
