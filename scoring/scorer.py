"""records -> verdicts: the one place where a score becomes a decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.artifact import Artifact, read_artifact
from scoring.calibration import check_alpha, severity
from scoring.errors import ArtifactError
from scoring.network import Forward, Network
from scoring.records import Table, table_of
from scoring.score import Parts

GOLDEN_TOLERANCE = 1e-4
REASONS = 3


@dataclass(frozen=True)
class Reason:
    """Why a record scored high: a column, what it held, what the network expected, and its share
    of the score in nats.
    """

    column: str
    observed: float | str | bool | None
    expected: float | str | bool | None
    contribution: float

    def __str__(self) -> str:
        return f"{self.column} is {_shown(self.observed)}, expected {_shown(self.expected)}"


def _shown(value: float | str | bool | None) -> str:
    if value is None:
        return "missing"
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if value is True or value is False
        else str(value)
    )


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
        self.artifact = artifact
        self.network = Network(artifact.graph, threads)

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
        from scoring.frames import checked_table, frame_of  # polars: only where frames are

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
        calibration = self.artifact.calibration
        if alpha is None:
            alpha = calibration.alpha
        else:
            check_alpha(alpha, calibration.n)
        forward = self.network.forward(self.artifact.vectorizer.transform(table))
        scores = self.artifact.rule.total(forward)
        p_values = calibration.p_values(scores)
        is_anomaly = decide(p_values, alpha)
        rows = is_anomaly if explain is None else np.full(len(table), explain > 0)
        reasons = self._reasons(
            table, forward, np.flatnonzero(rows), REASONS if explain is None else explain
        )
        parts = self.artifact.rule.parts(forward) if explain else None
        return Verdicts(scores, p_values, severity(p_values), is_anomaly, reasons, parts)

    def _reasons(
        self, table: Table, forward: Forward, rows: NDArray[np.int64], most: int
    ) -> list[tuple[Reason, ...]]:
        out: list[tuple[Reason, ...]] = [()] * len(table)
        if not len(rows):
            return out
        shares = forward.contributions[rows]
        top = np.argsort(-shares, axis=1, kind="stable")[:, :most]
        for row, share, columns in zip(rows.tolist(), shares, top.tolist(), strict=True):
            out[row] = tuple(
                self._reason(table, forward, row, c, float(share[c]))
                for c in columns
                if share[c] > 0
            )
        return out

    def _reason(self, table: Table, forward: Forward, row: int, at: int, share: float) -> Reason:
        column = self.artifact.schema.columns[at]
        expected = self.artifact.vectorizer.expected(forward.reconstructed[row], column)
        return Reason(column.name, table.observed(row, column), expected, share)
