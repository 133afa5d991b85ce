"""a recalibration, Feedback -> the same with what the parts of a score weigh since.

What the old calibration finds and the new one does not is looked at before, with weights as they
were, so that two changes are not taken for one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from vaewatch.scoring.score import score_features
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.renewed import New, Renewed
from vaewatch.training.feedback.given import Feedback
from vaewatch.training.feedback.learn import JudgedParts, PartsOf, learn_factors
from vaewatch.training.feedback.weights import Factors


def heed(
    feedback: Feedback, frame: pl.DataFrame, old: Scorer, table: Table, made: Renewed
) -> Renewed:
    """Return the recalibration with the weights that marks ask for, and scores by these.

    Args:
        frame: the records that stay. table: the same.
    """
    if made.rows is None:  # of windows only the records of confirmed incidents are left out
        return replace(made, renewal=replace(made.renewal, feedback=feedback.summary()))
    now, artifact = factors_of(old), old.artifact
    base = Factors(1 / now.kl, 1 / now.neighbour).of_rule(artifact.rule)
    parts_of, rows = PartsOf(old.network, artifact.vectorizer, base), table.take(made.rows)
    confirmed, marks = feedback.sound(artifact.schema)
    learnt = learn_factors(
        JudgedParts.left_out(parts_of(confirmed), marks),
        JudgedParts(parts_of(rows), feedback.of(frame).take(made.rows), np.ones(len(rows), bool)),
        made.renewal.calibration.alpha,
        now,
    )
    renewal = made.renewal
    if learnt.taken:
        rule = learnt.factors.of_rule(base)
        scores = score_features(old.network, rule, artifact.vectorizer.transform(rows))
        new = New.of(old, rows, scores, renewal.calibration.alpha)
        renewal = replace(new.renewal(renewal.fingerprint), rule=rule)
    return replace(made, renewal=replace(renewal, feedback=feedback.summary(learnt)))


def factors_of(scorer: Scorer) -> Factors:
    """Return what the parts of an artifact's scores weigh."""
    found = scorer.artifact.manifest.feedback
    return Factors() if found is None else Factors(found.kl_factor, found.neighbour_factor)
