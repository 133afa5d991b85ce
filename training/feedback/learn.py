"""Feedback, the parts of scores -> Factors: which records teach what the parts weigh.

Confirmed records are judged as new ones are, since nothing was fitted to them. False alarms and
other normal records are those that calibrate. Of an incident only records that alarm are meant; a
span of time holds normal ones, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.network import Network
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.feedback.given import Feedback
from vaewatch.training.feedback.matched import Matched
from vaewatch.training.feedback.weights import Examples, Factors, Learnt, Marked, learn
from vaewatch.training.learned import Evidence
from vaewatch.training.split.split import Split

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PartsOf:
    """The parts of the scores of new records. rule: with factors of 1."""

    network: Network
    vectorizer: Vectorizer
    rule: ScoreRule

    def __call__(self, table: Table) -> Floats:
        """Return reconstruction, KL and neighbour part of N records, (N, 3) nats."""
        features = self.vectorizer.transform(table)
        forward = self.network.forward(features.values)
        return np.column_stack(self.rule.weighted(forward, features)).astype(np.float64)


@dataclass(frozen=True)
class JudgedParts:
    """N records that nothing judged was fitted to: their (N, 3) parts and their marks.

    calibrates: (N,) which of them calibrate.
    """

    parts: Floats
    matched: Matched
    calibrates: NDArray[np.bool_]

    @classmethod
    def left_out(cls, parts: Floats, matched: Matched) -> JudgedParts:
        """Return records none of which calibrates."""
        return cls(parts, matched, np.zeros(len(parts), bool))

    def calibration(self, alpha: float, factors: Factors) -> Calibration:
        return calibrate(factors.total(self.parts[self.calibrates]), alpha, SPLIT)


@dataclass(frozen=True)
class FittedTo:
    """The records of a fit, and what the members that did not see them make of some of them."""

    table: Table
    split: Split
    evidence: Evidence

    def judged(self, matched: Matched, parts_of: PartsOf) -> JudgedParts:
        """Return these and the records that were not fitted to. matched: those of the table."""
        split = self.split
        unfitted = np.concatenate([split.unfitted, split.trimmed])
        rows = np.concatenate([split.fit[self.evidence.rows], unfitted])
        parts = np.concatenate([self.evidence.parts, parts_of(self.table.take(unfitted))])
        every = split.rule != SPLIT
        calibrates = np.full(len(rows), True) if every else np.isin(rows, split.held_out)
        return JudgedParts(parts, matched.take(rows), calibrates)


def learn_from(
    feedback: Feedback, frame: pl.DataFrame, fit: FittedTo, parts_of: PartsOf, alpha: float
) -> Learnt:
    """Return the factors of a fit to a frame of records that stay."""
    confirmed, marks = feedback.sound(fit.table.schema)
    left_out = JudgedParts.left_out(parts_of(confirmed), marks)
    return learn_factors(left_out, fit.judged(feedback.of(frame), parts_of), alpha, Factors())


def learn_factors(
    confirmed: JudgedParts, normal: JudgedParts, alpha: float, now: Factors
) -> Learnt:
    """Return the factors that the marks ask for, given the confirmed records, which were left out,
    and those that stay.
    """
    calibration = normal.calibration(alpha, now)
    false = normal.matched.labelled(Label.FALSE_ALARM)
    wrong = normal.matched.take(np.flatnonzero(false))
    examples = Examples(
        _meant(confirmed.parts, confirmed.matched, calibration, now),
        _meant(normal.parts[false], wrong, calibration, now),
        normal.parts[normal.calibrates & ~false],
    )
    return learn(examples, now)


def _meant(parts: Floats, matched: Matched, calibration: Calibration, now: Factors) -> Marked:
    """Return the records that marks mean: of those of an incident all that alarm, or if none does
    the one that scores highest.
    """
    scores = now.total(parts)
    meant = ~matched.by_span | calibration.alarms(calibration.p_values(scores))
    for mark in np.unique(matched.of[~np.isin(matched.of, matched.of[meant])]).tolist():
        rows = np.flatnonzero(matched.of == mark)
        meant[rows[scores[rows].argmax()]] = True
    return Marked(parts[meant], matched.of[meant])
