"""Scorer, labelled records -> Evaluation: what is found, and whether the alarm budget holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.expected import Expected, tenths
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.labelled import Comparison, compare
from vaewatch.scoring.incidents.rule import Rules, members_of
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.settling import on_one_scale
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook, outlook
from vaewatch.scoring.time.counted import Counted
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.calibration.by_segment import (
    SegmentBudget,
    budgets_by_segment,
    least_p_value,
)
from vaewatch.training.calibration.calibrate import with_changes
from vaewatch.training.calibration.chance import DOUBT, budget_p_value
from vaewatch.training.records.labels import Labels, read_labels
from vaewatch.training.records.seen import Seen
from vaewatch.training.vae.threads import computing_on

if TYPE_CHECKING:
    from vaewatch.training.bounds import Bounds


@dataclass(frozen=True)
class Evaluation:
    """Figures of one labelled file at one alpha; rates are shares, not per cent.

    false_alarms_by_chance: the range in which chance leaves the false alarms, at 99%.
    budget_p_value: the probability of a count of false alarms at least this far from the expected
    one, if these normals are exchangeable with the calibration records (two-sided beta-binomial).
    rate_interval: of the true rate, at 95%, as so many calibration records allow.
    bounds: of log p(x) of the normals, if asked for.
    normal_labels, anomaly_labels: the labels that were seen, by what they were taken for.
    fitted_normals: how many of the normals the network was fitted to, so that they alarm too
    rarely.
    bound: whether the expected false alarms are an upper bound only, since the pooled calibration
    judges some segments, or scores tie at the threshold.
    outlook: the alarms of the normals in blocks of time, where the artifact has a time.
    segments: the normals by segment, where the artifact has one. Then the budget's p-value is that
    of the segment whose count is least probable, by Bonferroni's bound, of those that have a
    calibration of their own.
    incidents: of alarms beside labelled ones, where the artifact has a time.
    """

    records: int
    anomalies: int
    alpha: float
    auroc: float | None
    auprc: float | None
    recall: float | None
    precision: float | None
    false_alarm_rate: float | None
    false_alarms: int
    expected_false_alarms: float
    false_alarms_by_chance: tuple[int, int]
    budget_p_value: float | None
    calibration_records: int
    rate_interval: tuple[float, float]
    bounds: Bounds | None
    reasons_of_true_alarms: dict[str, int]
    reasons_of_false_alarms: dict[str, int]
    normal_labels: tuple[str, ...] = ()
    anomaly_labels: tuple[str, ...] = ()
    fitted_normals: int = 0
    bound: bool = False
    outlook: Outlook | None = None
    segments: tuple[SegmentBudget, ...] = ()
    incidents: Comparison | None = None

    @property
    def budget_holds(self) -> bool | None:
        """False if the realised rate contradicts the calibration; None without normals."""
        return None if self.budget_p_value is None else self.budget_p_value >= DOUBT

    @property
    def expected(self) -> str:
        return tenths(self.expected_false_alarms, bound=self.bound)

    @property
    def by_chance(self) -> str:
        low, high = self.false_alarms_by_chance
        return f"{low:,} to {high:,} by chance"

    def to_json(self) -> dict[str, Any]:
        found = {**asdict(self), "budget_holds": self.budget_holds}
        if self.outlook is None:
            del found["outlook"]
        else:
            found["outlook"] = msgspec.to_builtins(self.outlook)
        if not self.segments:
            del found["segments"]
        if self.incidents is None:
            del found["incidents"]
        return found


@computing_on(1)
def evaluate(
    scorer: Scorer,
    frame: pl.DataFrame,
    label: str | Labels,
    alpha: float | None = None,
    bounds: Callable[[NDArray[np.float32]], Bounds] | None = None,
    seen: Seen | None = None,
    merge_gap: int | None = None,
) -> Evaluation:
    """Score labelled records and compare the verdicts with their labels.

    Args:
        label: the name of their column, or what was read of it.
        alpha: the false-alarm rate of the verdicts; the artifact's own by default.
        bounds: from (N, D) features of the normals to their bounds; none by default.
        seen: the records that the network was fitted to, if they are known.
        merge_gap: microseconds between alarms of one incident at most, where there is a time.

    Raises:
        SettingError: the artifact has a window; `evaluate_series` measures such.
    """
    if scorer.artifact.window is not None:
        raise SettingError(
            "an artifact with a window must be measured on series, by evaluate_series of "
            "vaewatch.training.series.labelled.evaluate."
        )
    found = label if isinstance(label, Labels) else read_labels(frame, label)
    anomaly = found.anomaly
    table = checked_table(scorer.artifact.schema, frame)
    verdicts = scorer.score_table(table, alpha=alpha)
    alpha = scorer.artifact.calibration.alpha if alpha is None else alpha
    alarm = verdicts.is_anomaly
    hits, false = int((alarm & anomaly).sum()), int((alarm & ~anomaly).sum())
    anomalies, normals = int(anomaly.sum()), int((~anomaly).sum())
    both = anomalies > 0 and normals > 0
    calibration = scorer.artifact.calibration
    law = calibration.rate_law(alpha)
    expected = Expected.of(law, normals)
    p_value = budget_p_value(false, normals, law) if normals else None
    by_segment: tuple[SegmentBudget, ...] = ()
    if (segments := scorer.artifact.segments) is not None:
        codes = segments.codes(table)[~anomaly]
        by_segment = budgets_by_segment(segments, codes, alarm[~anomaly], alpha)
        expected = segments.expected(segments.count(codes), alpha)
        least = least_p_value(by_segment)
        p_value = p_value if least is None else least
    return Evaluation(
        records=len(frame),
        anomalies=anomalies,
        alpha=alpha,
        auroc=float(roc_auc_score(anomaly, verdicts.score)) if both else None,
        auprc=float(average_precision_score(anomaly, verdicts.score)) if both else None,
        recall=hits / anomalies if anomalies else None,
        precision=hits / (hits + false) if hits + false else None,
        false_alarm_rate=false / normals if normals else None,
        false_alarms=false,
        expected_false_alarms=expected.mean,
        false_alarms_by_chance=(expected.low, expected.high),
        budget_p_value=p_value,
        calibration_records=law.n,
        rate_interval=law.interval(),
        bounds=bounds(_features(scorer, table.take(np.flatnonzero(~anomaly))))
        if bounds and normals
        else None,
        reasons_of_true_alarms=_top_reasons(verdicts, alarm & anomaly),
        reasons_of_false_alarms=_top_reasons(verdicts, alarm & ~anomaly),
        normal_labels=found.normal,
        anomaly_labels=found.other,
        fitted_normals=int((seen.likely(table) & ~anomaly).sum()) if seen else 0,
        bound=expected.bound,
        outlook=_outlook(scorer.artifact, table, alarm, ~anomaly, alpha),
        segments=by_segment,
        incidents=_incidents(scorer.artifact, table, verdicts, found, (merge_gap, alpha)),
    )


def _incidents(
    artifact: Artifact,
    table: Table,
    verdicts: Verdicts,
    labels: Labels,
    asked: tuple[int | None, float],
) -> Comparison | None:
    """Return the incidents beside labelled ones, by the merge gap and the alpha that were asked
    for; None without a time.
    """
    if table.times is None:
        return None
    rules = Rules.of(artifact, *asked)
    every = np.ones(len(table), np.bool_)
    verdicts = on_one_scale(artifact, table, verdicts)
    judged = JudgedRecords(table.times, members_of(artifact, table), verdicts, every)
    return compare(rules, judged, labels.anomaly, labels.kinds)


def _outlook(
    artifact: Artifact,
    table: Table,
    alarm: NDArray[np.bool_],
    normal: NDArray[np.bool_],
    alpha: float,
) -> Outlook | None:
    """Return the alarms of the normals in blocks of time; None without a time."""
    if table.times is None:
        return None
    own = normal & (table.times != NO_TIME)
    times, normals = table.times[own], table.take(np.flatnonzero(own))
    counted, laws = Counted.of(times, alarm[own]), [artifact.calibration.rate_law(alpha)]
    if segments := artifact.segments:
        slots = segments.slots(segments.codes(normals), alpha)
        counted, laws = Counted.of(times, alarm[own], slots), segments.laws(alpha)
    return with_changes(outlook(counted, laws), normals, artifact.drift)


def _features(scorer: Scorer, table: Table) -> NDArray[np.float32]:
    """Return the (N, D) features that the VAE sees of a table."""
    return scorer.artifact.vectorizer.transform(table).values


def _top_reasons(verdicts: Verdicts, rows: NDArray[np.bool_]) -> dict[str, int]:
    """Count how often each column is the first reason of an alarm; most frequent first."""
    first = (
        verdicts.reasons[i][0].column for i in np.flatnonzero(rows).tolist() if verdicts.reasons[i]
    )
    return dict(Counter(first).most_common(10))
