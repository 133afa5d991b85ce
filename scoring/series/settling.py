"""verdicts on windows, with their entities and moments -> those that stand.

Who is new to the model, and which alarms only repeat what lasts, is decided in order and in one
place, after the pass over the windows, which may run anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import severity
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.schema import OTHER
from vaewatch.scoring.series.history import Standing
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.reasons import SeriesReason
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts

Rows = NDArray[np.bool_]


def settled(
    artifact: Artifact,
    verdicts: Verdicts,
    entities: Sequence[str] | None,
    moments: NDArray[np.int64] | None,
    lasting: Lasting,
    cut: float,
    keys: Sequence[str] | None = None,
) -> Verdicts:
    """Judge entities that the artifact does not know by their own calibration, if it has one, and
    compare alarms that repeat what lasts with those before them, too.

    Args:
        verdicts: of `Scorer.score_taken` on N records of these entities and moments, in order of
            time within each.
        cut: the largest p-value of an anomaly.
        keys: the names by which `lasting` knows the entities; None for their own.
    """
    verdicts = _of_new(artifact, verdicts, entities, cut)
    alarms = np.flatnonzero(artifact.calibration.alarms(verdicts.p_value))
    if moments is None or not len(alarms):
        return verdicts
    p_value = verdicts.p_value.copy()
    keys = entities if keys is None else keys
    rows = lasting.settle(keys, moments, alarms, verdicts.score, p_value)
    if not len(rows):
        return verdicts
    return _raised(artifact, verdicts, rows, Standing.LASTING, p_value, cut)


def with_texts(verdicts: Verdicts, table: Table) -> Verdicts:
    """Return verdicts on a table whose reasons name the unseen categories of the records that they
    are of, which a history keeps as no more than unseen.
    """
    columns = {column.name: column for column in table.schema.columns}

    def named(reason: Reason, row: int) -> Reason:
        newest = isinstance(reason, SeriesReason) and not reason.ago
        if not newest or reason.observed != OTHER:
            return reason
        return replace(reason, observed=table.observed(row, columns[reason.column]))

    reasons = [
        tuple(named(reason, row) for reason in own) if own else own
        for row, own in enumerate(verdicts.reasons)
    ]
    return replace(verdicts, reasons=reasons)


def of_new_entities(artifact: Artifact, entities: Sequence[str] | None) -> Rows | None:
    """(N,) which records are judged by the calibration of new entities; None where there is none
    of that kind.
    """
    if artifact.of_new is None or artifact.entities is None or entities is None:
        return None
    return artifact.entities.lacks(entities)


def on_one_scale(artifact: Artifact, table: Table, verdicts: Verdicts) -> Verdicts:
    """Return verdicts on a table whose scores compare with those of the artifact's calibration:
    what another one judges gets the score of its p-value there, if that is lower.
    """
    new = of_new_entities(artifact, table.entities)
    if new is None or not (new := new & verdicts.judged).any():
        return verdicts
    score, alike = verdicts.score.copy(), artifact.calibration.score_of(verdicts.p_value[new])
    score[new] = np.minimum(score[new], alike)
    return replace(verdicts, score=score)


def _of_new(
    artifact: Artifact, verdicts: Verdicts, entities: Sequence[str] | None, cut: float
) -> Verdicts:
    """Judge the records of entities that the artifact does not know, and say so of them."""
    known, judged, p_value = artifact.entities, verdicts.judged, verdicts.p_value
    if known is None or entities is None or not judged.any():
        return verdicts
    rows = np.flatnonzero(judged & known.lacks(entities))
    if not len(rows):
        return verdicts
    if artifact.of_new is not None:
        own = artifact.of_new.p_values(verdicts.score[rows])
        p_value = p_value.copy()
        p_value[rows] = np.maximum(p_value[rows], own)
    return _raised(artifact, verdicts, rows, Standing.NEW_ENTITY, p_value, cut)


def _raised(
    artifact: Artifact,
    verdicts: Verdicts,
    rows: NDArray[np.int64],
    standing: Standing,
    p_value: NDArray[np.float64],
    cut: float,
) -> Verdicts:
    """Return the verdicts with (N,) p-values that are raised in some rows, which stand so."""
    words = list(verdicts.history or ())
    for row in rows.tolist():
        words[row] = standing.value
    severities, is_anomaly = verdicts.severity.copy(), artifact.calibration.alarms(p_value, cut)
    severities[rows] = severity(p_value[rows])
    reasons = verdicts.reasons
    if verdicts.parts is None:  # only anomalies get reasons
        reasons = [r if own else () for r, own in zip(reasons, is_anomaly, strict=True)]
    return replace(
        verdicts,
        p_value=p_value,
        severity=severities,
        is_anomaly=is_anomaly,
        reasons=reasons,
        history=words,
    )
