"""Scorer, records, marks -> MarkedEvaluation: which of what people marked alarms.

People mark alarms. What has never alarmed has no mark, so that this is recall among what somebody
has seen, which tells two artifacts apart; it is no estimate of what an artifact misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.feedback.marks import Mark
from vaewatch.training.feedback.matched import NONE, Keys, Matched, match
from vaewatch.training.feedback.precision import Precisions
from vaewatch.training.vae.threads import computing_on

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Alarming:
    """The marks of one label.

    Attributes:
        found: of the marks, those that have a record among the input.
        alarming: of these, those of which a record alarms. share: of those found; None of none.
        interval: of that share, at 95 % (Clopper & Pearson, 1934).
        records, alarms: of these marks.
    """

    marks: int
    found: int
    alarming: int
    share: float | None
    interval: tuple[float, float] | None
    records: int
    alarms: int

    @classmethod
    def of(cls, matched: Matched, alarm: Bools, label: Label) -> Alarming:
        """Count the marks of N records, and which of these alarm, (N,)."""
        from scipy.stats import binomtest  # a second of imports

        own = np.array([mark.label is label for mark in matched.marks], bool)
        rows = matched.labelled(label)
        found = len(np.unique(matched.of[rows]))
        alarming = len(np.unique(matched.of[rows & alarm]))
        share = interval = None
        if found:
            share, by_chance = alarming / found, binomtest(alarming, found).proportion_ci()
            interval = (float(by_chance.low), float(by_chance.high))
        counts = (int(rows.sum()), int((rows & alarm).sum()))
        return cls(int(own.sum()), found, alarming, share, interval, *counts)


@dataclass(frozen=True)
class MarkedEvaluation:
    """What alarms at one alpha: of confirmed marks it is found, of the others it is false.

    unmarked: records without a mark. unmarked_alarms: of these. precision: of the marks alone,
        whatever records there are.
    """

    records: int
    alarms: int
    alpha: float
    confirmed: Alarming
    false_alarms: Alarming
    expected: Alarming
    unmarked: int
    unmarked_alarms: int
    precision: Precisions

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@computing_on(1)
def evaluate_marked(
    scorer: Scorer, frame: pl.DataFrame, marks: Sequence[Mark], alpha: float | None = None
) -> MarkedEvaluation:
    """Score records, and count which of the marked ones alarm.

    Args:
        alpha: the false-alarm rate of the verdicts; the artifact's own by default.
    """
    schema, calibration = scorer.artifact.schema, scorer.artifact.calibration
    matched = match(marks, frame, Keys.of_schema(schema))
    alarm = _alarms(scorer, checked_table(schema, frame), alpha)
    unmarked = matched.of == NONE
    return MarkedEvaluation(
        records=len(frame),
        alarms=int(alarm.sum()),
        alpha=calibration.alpha if alpha is None else alpha,
        confirmed=Alarming.of(matched, alarm, Label.CONFIRMED),
        false_alarms=Alarming.of(matched, alarm, Label.FALSE_ALARM),
        expected=Alarming.of(matched, alarm, Label.EXPECTED),
        unmarked=int(unmarked.sum()),
        unmarked_alarms=int((unmarked & alarm).sum()),
        precision=Precisions.of(marks),
    )


def _alarms(scorer: Scorer, table: Table, alpha: float | None) -> Bools:
    """Return which of N records alarm, (N,); with a window, in order of time."""
    if scorer.artifact.window is None or table.times is None:
        return scorer.score_table(table, alpha=alpha, explain=0).is_anomaly
    order = np.argsort(table.times, kind="stable")
    alarm = np.zeros(len(table), bool)
    alarm[order] = scorer.score_table(table.take(order), alpha=alpha, explain=0).is_anomaly
    return alarm
