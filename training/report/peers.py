"""fit records, labelled records -> Judged: the usual peers, a plain autoencoder, PCA and a forest.

They see the same features as the VAE. PCA and the isolation forest alarm above a quantile of their
own fit scores, as `contamination` does in scikit-learn; the autoencoder has its own calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin
from vaewatch.training.pipeline import fit
from vaewatch.training.progress import Progress, silent
from vaewatch.training.records.read import fingerprint
from vaewatch.training.split.split import split_records

VARIANCE = 0.9  # that PCA keeps

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Judged:
    """One detector on N labelled records: (N,) scores, higher is more anomalous, and alarms."""

    name: str
    scores: Floats
    alarms: NDArray[np.bool_]


def pca(x: Floats, seed: int) -> tuple[Floats, Score]:
    """Return the scores of (N, D) fit records, squared errors of reconstruction, and a function
    that scores others.
    """
    model = PCA(VARIANCE, svd_solver="full").fit(x)

    def score(x: Floats) -> Floats:
        return np.asarray(((x - model.inverse_transform(model.transform(x))) ** 2).sum(1))

    return score(x), score


def isolation_forest(x: Floats, seed: int) -> tuple[Floats, Score]:
    model = IsolationForest(random_state=seed).fit(x)
    return -model.score_samples(x), lambda x: -model.score_samples(x)


PEERS: dict[str, Callable[[Floats, int], tuple[Floats, Score]]] = {
    "PCA": pca,
    "isolation forest": isolation_forest,
}


def judge_peers(
    artifact: Artifact,
    normal: pl.DataFrame,
    labelled: pl.DataFrame,
    alpha: float,
    progress: Progress = silent,
) -> tuple[Judged, ...]:
    """Fit each peer to the normal records, split as for the artifact, and judge it."""
    config = config_of(artifact)
    split = split_records(len(normal), normal.width, config)
    table = checked_table(artifact.schema, normal).take(split.fit)
    known = _features(artifact, table)
    new = _features(artifact, checked_table(artifact.schema, labelled))
    found = []
    for name, make in PEERS.items():
        own, score = make(known, config.seed)
        scores = score(new)
        found.append(Judged(name, scores, scores > np.quantile(own, 1 - alpha)))
    learned = fit(normal, replace(config, model="ae", device="auto"), progress)
    origin = Origin("plain autoencoder", fingerprint(normal), len(normal), fit_seconds=0.0)
    plain = pack(learned, origin).artifact()
    table = checked_table(plain.schema, labelled)
    verdicts = Scorer(plain).score_table(table, alpha=alpha, explain=0)
    return Judged("plain autoencoder", verdicts.score, verdicts.is_anomaly), *found


def config_of(artifact: Artifact) -> TrainConfig:
    """Return the settings of the run that made an artifact."""
    return TrainConfig.of(msgspec.structs.asdict(artifact.manifest.training))


def _features(artifact: Artifact, table: Table) -> Floats:
    return artifact.vectorizer.transform(table).values.astype(np.float64)
