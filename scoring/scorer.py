"""records -> verdicts: scores, p-values, decisions and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact, read_artifact
from vaewatch.scoring.budget.calibration import check_alpha
from vaewatch.scoring.budget.segments import kinds_of
from vaewatch.scoring.errors import ArtifactError, RecordError, SettingError
from vaewatch.scoring.expected.candidates import Candidates
from vaewatch.scoring.expected.expectation import Expectation
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.intake.deadline import LOAD_SECONDS, within
from vaewatch.scoring.intake.values import plain_records
from vaewatch.scoring.network import OUTPUTS, Network
from vaewatch.scoring.reasons import Explainer, Reason, ScoredTable
from vaewatch.scoring.table import Table, table_of
from vaewatch.scoring.verdicts import Verdicts

GOLDEN_TOLERANCE = 1e-4
REASONS = 3


class Scorer:
    """An artifact that is ready to score. Threads may share it: scoring changes nothing in it."""

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        self.artifact, self._threads = artifact, threads
        self.network = Network(artifact.graph, threads)
        learned, rule = (artifact.vectorizer, artifact.precision), artifact.rule
        self._explainer = Explainer(
            self.network, rule, Candidates(*learned, rule.unseen), Expectation(*learned)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the artifact: a session of ONNX Runtime cannot be pickled."""
        return Scorer, (self.artifact, self._threads)

    @classmethod
    def load(cls, path: Path | str, threads: int = 1) -> Scorer:
        """Read an artifact and verify it: format, hashes, and the scores of its golden records.

        Args:
            path: the artifact's folder.
            threads: threads of one pass of the network.

        Raises:
            ArtifactError: the artifact is missing, damaged, or from another release.
        """
        return within(LOAD_SECONDS, str(path), lambda: cls._loaded(path, threads))

    @classmethod
    def _loaded(cls, path: Path | str, threads: int) -> Scorer:
        artifact = read_artifact(path)
        try:
            with np.errstate(all="ignore"):
                scorer = cls(artifact, threads)
                scorer.verify()
        except (*BROKEN, RecordError, RuntimeError) as error:
            raise damaged(path, error) from error
        return scorer

    def verify(self) -> None:
        """Raise an ArtifactError unless the golden records score as they did when it was made."""
        golden = self.artifact.golden
        table = table_of(self.artifact.schema, golden.records)
        got = self._sound_scores(table)
        scale = np.maximum(np.abs(golden.scores), 1.0)  # relative to the score, or to one nat
        apart = np.abs(got - golden.scores) / scale
        if not np.all(apart <= GOLDEN_TOLERANCE):
            raise ArtifactError(
                f"the artifact's golden records must score within {GOLDEN_TOLERANCE:g} of what is "
                f"stored, got {apart.max():.2g} apart. Do not use it; train or export it again."
            )
        if not np.array_equal(self.artifact.p_values(golden.scores, table), golden.p_values):
            raise ArtifactError(
                "the artifact's golden records must get the stored p-values, but do not."
            )

    def _sound_scores(self, table: Table) -> NDArray[np.float64]:
        """Return the scores of N records, (N,), or raise an ArtifactError unless the graph gives
        each part of each as a number. They are explained, too, as any record may be.
        """
        features = self.artifact.vectorizer.transform(table)
        n, d = features.values.shape
        if self.network.sizes.features != d:
            raise ArtifactError(
                f"network.onnx must take the {d:,} features of the manifest, got "
                f"{self.network.sizes.features:,}."
            )
        forward = self.network.forward(features.values)
        for name in OUTPUTS:
            part = getattr(forward, name)
            if part is None:  # of more than a TILE
                part = self.network.whitened(features.values)
            if len(part) != n or not np.isfinite(part).all():
                raise ArtifactError(
                    f"network.onnx must give a finite '{name}' for each record, but does not."
                )
        score = self.artifact.rule.total(forward, features)
        self._explainer.reasons(
            ScoredTable(table, features, forward, score), np.arange(n), REASONS
        )
        return score

    def score(
        self, data: Any, *, alpha: float | None = None, explain: int | None = None
    ) -> Verdicts:
        """Score a list of records, or the rows of a pandas or polars DataFrame.

        Args:
            data: N records.
            alpha: the false-alarm rate of these verdicts; the artifact's own by default.
            explain: the largest number of reasons for each record; also asks for the parts of its
                score.
                By default anomalies get three reasons, and there are no parts.

        Returns:
            N verdicts, in the order of the records.

        Raises:
            RecordError: some records break the schema; it names each broken rule.
            SettingError: alpha or explain cannot be meant.
            CalibrationError: the calibration records of all segments together are too few to
                certify alpha. Where only those of a record's own segment are, the pooled ones
                judge it.
        """
        _check_asked(alpha, explain)
        if isinstance(data, list | tuple):
            records = plain_records(data, set(self.artifact.schema.inputs))
            return self.score_records(records, alpha=alpha, explain=explain)
        # imports polars, which records do without
        from vaewatch.scoring.files.frames import checked_table, frame_of

        table = checked_table(self.artifact.schema, frame_of(data))
        return self.score_table(table, alpha=alpha, explain=explain)

    def score_records(
        self, records: Sequence[Any], *, alpha: float | None = None, explain: int | None = None
    ) -> Verdicts:
        """Score records as JSON carries them; see `score`."""
        return self.score_table(
            table_of(self.artifact.schema, records), alpha=alpha, explain=explain
        )

    def score_table(
        self,
        table: Table,
        *,
        alpha: float | None = None,
        explain: int | None = None,
        cut: float | None = None,
    ) -> Verdicts:
        """Score a table; see `score`. `cut`: the largest p-value of an anomaly, in place of alpha;
        the calibrations that judge stay those of the artifact's alpha.
        """
        rule, calibration = self.artifact.rule, self.artifact.calibration
        if alpha is None:
            alpha = calibration.alpha
        else:
            check_alpha(alpha, calibration.n)
        features = self.artifact.vectorizer.transform(table)
        forward = self.network.forward(features.values)
        score = rule.total(forward, features)
        segment = used = None
        if (segments := self.artifact.segments) is None:
            below = calibration.below(score)
            p_value = calibration.p_value_of.take(below)
            severity = calibration.severity_of.take(below)
        else:
            codes = segments.codes(table)
            ranked = segments.rank(score, codes, alpha)
            p_value, severity = ranked.p_value, ranked.severity
            segment, used = segments.names(codes), kinds_of(ranked.slots)
        is_anomaly = calibration.alarms(p_value, alpha if cut is None else cut)
        return Verdicts(
            score=score,
            p_value=p_value,
            severity=severity,
            is_anomaly=is_anomaly,
            reasons=self._reasons(
                ScoredTable(table, features, forward, score), is_anomaly, explain
            ),
            parts=rule.parts(forward, features) if explain else None,
            segment=segment,
            calibration=used,
        )

    def _reasons(
        self, scored: ScoredTable, is_anomaly: NDArray[np.bool_], explain: int | None
    ) -> list[tuple[Reason, ...]]:
        """Explain the records that get reasons; the others get none."""
        out: list[tuple[Reason, ...]] = [()] * len(is_anomaly)
        asked = is_anomaly if explain is None else np.full(len(out), explain > 0)
        rows = asked.nonzero()[0]
        if not len(rows):
            return out
        most = REASONS if explain is None else explain
        found = self._explainer.reasons(scored, rows, most)
        for row, reasons in zip(rows.tolist(), found, strict=True):
            out[row] = reasons
        return out


def _check_asked(alpha: Any, explain: Any) -> None:
    """Refuse what the types rule out, but Python lets through."""
    if alpha is not None and not isinstance(alpha, Real):
        raise SettingError(f"alpha must be a number, got {alpha!r}.")
    if explain is not None and not (isinstance(explain, SupportsIndex) and int(explain) >= 0):
        raise SettingError(f"explain must be a whole number of at least 0, got {explain!r}.")
