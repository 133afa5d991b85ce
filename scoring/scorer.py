"""records -> verdicts: scores, p-values, decisions and reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import check_alpha
from vaewatch.scoring.budget.segments import kinds_of
from vaewatch.scoring.disk.reading import read_artifact
from vaewatch.scoring.errors import ArtifactError, RecordError, SettingError
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.intake.deadline import LOAD_SECONDS, within
from vaewatch.scoring.intake.values import plain_records
from vaewatch.scoring.judge import RecordJudge
from vaewatch.scoring.network import Network
from vaewatch.scoring.reasons import Reason, ScoredTable
from vaewatch.scoring.series.course import Course
from vaewatch.scoring.series.history import History, Taken
from vaewatch.scoring.series.judge import WindowJudge, arrivals_of
from vaewatch.scoring.series.settling import settled, with_texts
from vaewatch.scoring.table import Table, table_of
from vaewatch.scoring.verdicts import Verdicts

# Another processor rounds otherwise: by up to 3e-4 of a score where a residual is small beside its
# record, as that of a rare category is which another column implies.
GOLDEN_TOLERANCE = 1e-3
REASONS = 3


class Scorer:
    """An artifact that is ready to score. Threads may share it: scoring changes nothing in it."""

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        self.artifact, self._threads = artifact, threads
        self._windows = None if artifact.window is None else WindowJudge(artifact, threads)
        if self._windows is None:
            self._records = RecordJudge(artifact, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the artifact: a session of ONNX Runtime cannot be pickled."""
        return Scorer, (self.artifact, self._threads)

    @property
    def network(self) -> Network:
        """The forward pass of an artifact that judges each record by itself."""
        return self._records.network

    def history(self, most: int | None = None) -> History | None:
        """Return an empty history, of at most so many entities; None where records are judged each
        by itself.
        """
        window = self.artifact.window
        return None if window is None else History(window, most)

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
        rows = np.arange(len(table))
        if self._windows is not None:
            rows, got = self._windows.sound_scores(table, REASONS)
        else:
            got = self._records.sound_scores(table, REASONS)
        if len(got) != len(golden.scores):
            raise ArtifactError(
                f"the artifact's {len(golden.scores):,} golden scores must be those of its golden "
                f"records, but these get {len(got):,}."
            )
        scale = np.maximum(np.abs(golden.scores), 1.0)  # relative to the score, or to one nat
        apart = np.abs(got - golden.scores) / scale
        if not np.all(apart <= GOLDEN_TOLERANCE):
            raise ArtifactError(
                f"the artifact's golden records must score within {GOLDEN_TOLERANCE:g} of what is "
                f"stored, got {apart.max():.2g} apart. Do not use it; train or export it again."
            )
        if not np.array_equal(
            self.artifact.p_values(golden.scores, table.take(rows)), golden.p_values
        ):
            raise ArtifactError(
                "the artifact's golden records must get the stored p-values, but do not."
            )

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
        history: History | None = None,
    ) -> Verdicts:
        """Score a table; see `score`. `cut`: the largest p-value of a discovery, in place of
        alpha; the calibrations that judge stay those of the artifact's alpha, and only those that
        promise a rate to their segment find any. `history`: the records before these, of an
        artifact with a window; it takes these in. Without one, the table's first records warm up.
        """
        alpha = self._alpha(alpha)  # before a history takes records in
        if self._windows is not None:
            history = History(self._windows.window) if history is None else history
            keys = history.keys(table.entities)
            arrivals = replace(arrivals_of(self.artifact.vectorizer, table), entities=keys)
            found = self.score_taken(history.add(arrivals), alpha=alpha, explain=explain, cut=cut)
            cut = alpha if cut is None else cut
            found = settled(
                self.artifact, found, table.entities, table.times, history.lasting, cut, keys
            )
            return with_texts(found, table)
        calibration, judge = self.artifact.calibration, self._records
        scored = judge.judge(table)
        score = scored.scores
        segment = used = promised = None
        if (segments := self.artifact.segments) is None:
            below = calibration.below(score)
            p_value = calibration.p_value_of.take(below)
            severity = calibration.severity_of.take(below)
        else:
            codes = segments.codes(table)
            ranked = segments.rank(score, codes, alpha)
            p_value, severity = ranked.p_value, ranked.severity
            segment, used = segments.names(codes), kinds_of(ranked.slots)
            promised = ranked.promised
        is_anomaly = calibration.alarms(p_value, alpha if cut is None else cut)
        if cut is not None and promised is not None:
            is_anomaly &= promised
        return Verdicts(
            score=score,
            p_value=p_value,
            severity=severity,
            is_anomaly=is_anomaly,
            reasons=_reasons(judge, scored, is_anomaly, explain),
            parts=judge.parts(scored) if explain else None,
            segment=segment,
            calibration=used,
            promised=promised,
        )

    def score_taken(
        self,
        taken: Taken,
        *,
        alpha: float | None = None,
        explain: int | None = None,
        cut: float | None = None,
    ) -> Verdicts:
        """Score the N records that a history has taken in, of an artifact with a window; see
        `score_table`. All that it needs of them is in `taken`; who is new, and what lasts,
        comes later, see `vaewatch.scoring.series.settling`.
        """
        judge, alpha = self._windows, self._alpha(alpha)
        if judge is None:
            raise AssertionError("only an artifact with a window has a history")
        judged, cut = judge.judged(taken), alpha if cut is None else cut
        n, rows, calibration = len(taken.standings), judged.rows, self.artifact.calibration
        below = calibration.below(judged.scores)
        p_value = calibration.p_value_of.take(below)
        is_anomaly = np.zeros(n, bool)
        is_anomaly[rows] = calibration.alarms(p_value, cut)
        wanted = is_anomaly
        if explain is not None:
            wanted = np.zeros(n, bool)
            wanted[rows] = explain > 0
        reasons: list[tuple[Reason, ...]] = [()] * n
        courses: dict[int, tuple[Course, ...]] = {}
        for row, found in judge.explained(judged, wanted, REASONS if explain is None else explain):
            reasons[row], courses[row] = found.reasons, found.courses
        return Verdicts(
            score=_spread(judged.scores, rows, n),
            p_value=_spread(p_value, rows, n),
            severity=_spread(calibration.severity_of.take(below), rows, n),
            is_anomaly=is_anomaly,
            reasons=reasons,
            parts=judge.all_parts(judged) if explain else None,
            history=judged.standings(),
            courses=courses,
        )

    def _alpha(self, alpha: float | None) -> float:
        """Return the false-alarm rate that was asked for, or the artifact's own."""
        calibration = self.artifact.calibration
        if alpha is None:
            return calibration.alpha
        check_alpha(alpha, calibration.n)
        return alpha


def _reasons(
    judge: RecordJudge, scored: ScoredTable, is_anomaly: NDArray[np.bool_], explain: int | None
) -> list[tuple[Reason, ...]]:
    """Explain the records that get reasons; the others get none."""
    out: list[tuple[Reason, ...]] = [()] * len(is_anomaly)
    asked = is_anomaly if explain is None else np.full(len(out), explain > 0)
    rows = asked.nonzero()[0]
    if not len(rows):
        return out
    most = REASONS if explain is None else explain
    found = judge.reasons(scored, rows, most)
    for row, reasons in zip(rows.tolist(), found, strict=True):
        out[row] = reasons
    return out


def _spread(values: NDArray[np.float64], rows: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Put values in their rows, of n in all; NaN elsewhere."""
    out = np.full(n, np.nan)
    out[rows] = values
    return out


def _check_asked(alpha: Any, explain: Any) -> None:
    """Refuse what the types rule out, but Python lets through."""
    if alpha is not None and not isinstance(alpha, Real):
        raise SettingError(f"alpha must be a number, got {alpha!r}.")
    if explain is not None and not (isinstance(explain, SupportsIndex) and int(explain) >= 0):
        raise SettingError(f"explain must be a whole number of at least 0, got {explain!r}.")
