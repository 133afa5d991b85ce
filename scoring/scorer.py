"""records -> verdicts: the one place where a score becomes a decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact, read_artifact
from vaewatch.scoring.calibration import check_alpha
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.network import Forward, Network
from vaewatch.scoring.reasons import Explainer, Reason
from vaewatch.scoring.score import Parts
from vaewatch.scoring.standardise import Features
from vaewatch.scoring.table import Table, table_of

GOLDEN_TOLERANCE = 1e-4
REASONS = 3


@dataclass(frozen=True)
class Verdict:
    """One record's verdict."""

    score: float
    p_value: float
    severity: float
    is_anomaly: bool
    reasons: tuple[Reason, ...]
    parts: Parts | None = None


@dataclass(frozen=True)
class Verdicts:
    """N verdicts as (N,) arrays, with the reasons of those records that have them, and the parts
    of each score where they were asked for.
    """

    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    severity: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    reasons: Sequence[tuple[Reason, ...]]
    parts: Sequence[Parts] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: int) -> Verdict:
        return Verdict(
            float(self.score[index]),
            float(self.p_value[index]),
            float(self.severity[index]),
            bool(self.is_anomaly[index]),
            self.reasons[index],
            None if self.parts is None else self.parts[index],
        )

    def __iter__(self) -> Iterator[Verdict]:
        return (self[i] for i in range(len(self)))


def decide(p_values: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    """(N,) which records are anomalies: decided here and nowhere else."""
    return p_values <= alpha


class Scorer:
    """An artifact, ready to score. It has no state that scoring changes: share it between
    threads.
    """

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        self.artifact, self._threads = artifact, threads
        self.network = Network(artifact.graph, threads)
        self._explainer = Explainer(artifact.vectorizer, artifact.precision, artifact.rule.novelty)

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels as its artifact; a session of ONNX Runtime cannot."""
        return Scorer, (self.artifact, self._threads)

    @classmethod
    def load(cls, path: Path | str, threads: int = 1) -> Scorer:
        """Read an artifact, verify it down to its golden records, and hold it.

        Raises:
            ArtifactError: says in one sentence what is wrong.
        """
        scorer = cls(read_artifact(path), threads)
        scorer.verify()
        return scorer

    def verify(self) -> None:
        """Score the golden records and refuse an artifact that does not give what it gave when it
        was made.
        """
        golden, calibration = self.artifact.golden, self.artifact.calibration
        got = self.score_records(golden.records).score
        apart = np.abs(got - golden.scores) / np.maximum(
            np.abs(golden.scores), 1.0
        )  # or of one nat
        if not np.all(apart <= GOLDEN_TOLERANCE):
            raise ArtifactError(
                f"the artifact's golden records must score within {GOLDEN_TOLERANCE:g} of what is "
                "stored, "
                f"got {apart.max():.2g} apart. Do not use it; train or export it again."
            )
        if not np.array_equal(calibration.p_values(golden.scores), golden.p_values):
            raise ArtifactError(
                "the artifact's golden records must get the stored p-values, but do not."
            )

    def score(
        self, data: Any, *, alpha: float | None = None, explain: int | None = None
    ) -> Verdicts:
        """Verdicts of a list of records, or of a pandas or polars DataFrame."""
        if isinstance(data, Sequence):
            return self.score_records(data, alpha=alpha, explain=explain)
        from vaewatch.scoring.files.frames import (  # polars: only where frames are
            checked_table,
            frame_of,
        )

        table = checked_table(self.artifact.schema, frame_of(data))
        return self.score_table(table, alpha=alpha, explain=explain)

    def score_records(
        self, records: Sequence[Any], *, alpha: float | None = None, explain: int | None = None
    ) -> Verdicts:
        """Verdicts of records as JSON carries them; a RecordError names every problem."""
        return self.score_table(
            table_of(self.artifact.schema, records), alpha=alpha, explain=explain
        )

    def score_table(
        self, table: Table, *, alpha: float | None = None, explain: int | None = None
    ) -> Verdicts:
        """Verdicts of a table.

        Args:
            alpha: the false-alarm rate of these verdicts; the artifact's own by default.
            explain: so many reasons for each record, and the parts of its score; by default three
                reasons, only for anomalies, and no parts.
        """
        rule, calibration = self.artifact.rule, self.artifact.calibration
        if alpha is None:
            alpha = calibration.alpha
        else:
            check_alpha(alpha, calibration.n)
        features = self.artifact.vectorizer.transform(table)
        forward = self.network.forward(features.values)
        score = rule.total(forward, features)
        below = calibration.below(score)
        p_value = calibration.p_value_of.take(below)
        is_anomaly = decide(p_value, alpha)
        return Verdicts(
            score=score,
            p_value=p_value,
            severity=calibration.severity_of.take(below),
            is_anomaly=is_anomaly,
            reasons=self._reasons(table, features, forward, is_anomaly, explain),
            parts=rule.parts(forward, features) if explain else None,
        )

    def _reasons(
        self,
        table: Table,
        features: Features,
        forward: Forward,
        is_anomaly: NDArray[np.bool_],
        explain: int | None,
    ) -> list[tuple[Reason, ...]]:
        """Of a large table the network is asked again, for the few records that have any."""
        out: list[tuple[Reason, ...]] = [()] * len(table)
        asked = is_anomaly if explain is None else np.full(len(table), explain > 0)
        rows = asked.nonzero()[0]
        if not len(rows):
            return out
        chosen, whitened = features[rows], forward.whitened
        whitened = self.network.whitened(chosen.values) if whitened is None else whitened[rows]
        explanation = self._explainer.explain(chosen, whitened)
        most = REASONS if explain is None else explain
        found = self._explainer.reasons(table, rows, explanation, most)
        for row, reasons in zip(rows.tolist(), found, strict=True):
            out[row] = reasons
        return out
