"""fit records, held-out records -> Outlook: the last fold of time, played through as if nothing of
it were known.

The member that leaves it out judges it, with everything else of the score as the time before gives
it. Members differ in what they make of rare values, so that what one of them gives is compared
with nothing that another one gave: the past are the held-out records from before the last fold,
which that member has not seen, either. Where they are too few to certify alpha, the past are the
other folds, each judged by the member that leaves it out; what chance allows is then wide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.neighbours import (
    Bank,
    keep_records,
    neighbour_weight,
    part_for,
)
from vaewatch.training.calibration.out_of_bag import OutOfBag, judged_by_folds
from vaewatch.training.calibration.rehearsal import Mix, play
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.weights import Factors
from vaewatch.training.learned import Continued
from vaewatch.training.odd.columns import ColumnCosts, ColumnView, may_view
from vaewatch.training.records.split import Split
from vaewatch.training.streams import Stream, stream
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.then import features_then
from vaewatch.training.vae.fit import Fitted

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shaping:
    """What shapes a score: R of the fit records, each judged by the member that did not see it.

    oob: their residuals, with folds that are blocks of time. x: (R, D) their features. rows: (R,)
    their places among the fit records. factors: what the parts of a score weigh. columns: (D,) of
    the features, if the score looks at each column by itself, too.
    """

    oob: OutOfBag
    x: NDArray[np.float32]
    rows: Rows
    rules: Rules
    factors: Factors = Factors()
    columns: NDArray[np.int64] | None = None

    def only(self, some: NDArray[np.bool_]) -> Shaping:
        """Return some of the records, (R,)."""
        oob = OutOfBag(self.oob.residuals[some], self.oob.kl[some], self.oob.folds[some])
        return replace(self, oob=oob, x=self.x[some], rows=self.rows[some])


@dataclass(frozen=True)
class Then:
    """The score that P records of the past shape.

    own: (P,) what it gives these. bank: None where the score has no neighbour part.
    """

    shaping: Shaping
    precision: Precision
    bank: Bank | None
    weight: float
    view: ColumnView | None
    own: Scores

    @classmethod
    def of(cls, past: Shaping, config: TrainConfig) -> Then:
        """Fit the score to the past."""
        bare = past.oob.reconstruction(past.rules) + past.oob.kl
        own = bare + (past.factors.kl - 1) * past.oob.kl
        found = cls(past, fit_precision(past.oob.residuals), None, 0.0, None, own)
        if config.score != "reconstruction":
            found = found._near(bare, config)
        if past.columns is None or not may_view(len(past.x), past.columns):
            return found
        whitened = found.precision.whiten(past.oob.residuals.astype(np.float64))
        costs = ColumnCosts.of(found.precision, past.columns)
        view = ColumnView.of(costs, whitened, found.own, past.rules.nats)
        return replace(found, view=view, own=np.maximum(found.own, view.least(whitened[None])))

    def _near(self, bare: Scores, config: TrainConfig) -> Then:
        """Return the score with its neighbour part, if a bank can be kept."""
        x = self.shaping.x
        bank, places = keep_records(x, config.neighbours, config.seed)
        if len(bank) < 2:
            return self
        distance = bank.distance(x, places)
        weight = neighbour_weight(bare, distance, part_for(x.shape[1]).share)
        weight *= self.shaping.factors.neighbour
        return replace(self, bank=bank, weight=weight, own=self.own + weight * distance)

    def scores(self, oob: OutOfBag, x: NDArray[np.float32], unseen: Rows) -> Scores:
        """Return the (N,) scores of records of (N, D) features that shaped nothing of it, and that
        have so many unseen values, (N,).
        """
        rules, factors = self.shaping.rules, self.shaping.factors
        scores = rules.cost(oob.residuals, self.precision) + factors.kl * oob.kl
        if self.bank is not None:
            scores += self.weight * self.bank.distance(x)
        if self.view is not None:
            whitened = self.precision.whiten(oob.residuals.astype(np.float64))
            scores = np.maximum(scores, self.view.least(whitened[None]))
        return np.asarray(scores + rules.nats * unseen)


@dataclass(frozen=True)
class Turn:
    """Rows of a table of all records, on both sides of the moment at which the last fold begins.

    past: fit records of before. before: (B,) records of before that no member has seen. later:
    (L,) those that are played through; the member that judges them has not seen them, either.
    """

    past: Rows
    before: Rows
    later: Rows

    @classmethod
    def of(cls, times: NDArray[np.int64], past: Rows, own: Rows, unseen: Rows) -> Turn | None:
        """Return the rows, given the last fold's `own` ones and those that no member has seen;
        None without a time.
        """
        given = times[times != NO_TIME]
        own, unseen = (rows[times[rows] != NO_TIME] for rows in (own, unseen))
        if not len(own) or given.min() == given.max():
            return None
        is_later = times[unseen] >= times[own].min()
        return cls(past, unseen[~is_later], np.concatenate([own, unseen[is_later]]))

    def features(self, table: Table, known: Vectorizer) -> Features:
        """Return the features of the records before and later, as if no later one were known."""
        rows = np.concatenate([self.past, self.before, self.later])
        # No text is named, and to copy them takes longer than all else.
        some = replace(table, texts=()).take(rows)
        return features_then(some, np.arange(len(self.past)), known)[len(self.past) :]


@dataclass(frozen=True)
class Played:
    """A fit that is tried on the time after its past.

    known: its features. table: all N records. continued: the fit that it continues, if it does:
    its records are known to all members.
    """

    fitted: Fitted
    shaping: Shaping
    known: Vectorizer
    table: Table
    split: Split
    continued: Continued | None = None

    def outlook(self, config: TrainConfig) -> Outlook | None:
        """Play the last fold of time through.

        Returns:
            None if the time before has too few records to certify alpha, or there is no time.
        """
        times = self.table.times
        turn = None if times is None else self._turn(times, config)
        if turn is None or times is None:
            return None
        then = Then.of(self.shaping.only(self.shaping.oob.folds != self._last), config)
        found = turn.features(self.table, self.known)
        fold = np.full(len(found), self._last)
        oob = judged_by_folds(self.fitted, found.values, fold, kl=config.model == "vae")
        scores = then.scores(oob, found.values, found.unseen.sum(1))
        before, later = np.split(scores, [len(turn.before)])
        calibrating = self._past(turn, then, before, config)
        if calibrating is None:
            return None
        past, mix = calibrating
        return play(past, later, times[turn.later], config.alpha, mix)

    @property
    def _last(self) -> int:
        return len(self.fitted.folds.judges) - 1

    def _turn(self, times: NDArray[np.int64], config: TrainConfig) -> Turn | None:
        """Return what is played through: of fit records those that shape the score, and as large a
        share of the others that are no fair sample of all records by themselves.
        """
        split, rows, folds = self.split, self.shaping.rows, self.fitted.folds.of
        own = split.fit[rows[folds[rows] == self._last]]
        if self.continued is not None:
            own = own[~self.continued.known[own]]
        others = np.union1d(split.trimmed, np.setdiff1d(split.own, split.held_out))
        drawn = stream(config.seed, Stream.SUSPECTS).permutation(others)
        drawn = drawn[: round(len(others) * len(rows) / len(split.fit))]
        unseen = np.sort(np.concatenate([split.held_out, drawn]))
        return Turn.of(times, split.fit[folds != self._last], own, unseen)

    def _past(
        self, turn: Turn, then: Then, scores: Scores, config: TrainConfig
    ) -> tuple[Scores, Mix | None] | None:
        """Return what calibrates in the end, given the (B,) scores of what no member had seen;
        None if it is too little, and all else has been seen.
        """
        table, fair = self.table, np.isin(turn.before, self.split.held_out)
        if allowed_rank(config.alpha, int(fair.sum())) >= 1:
            own = np.isin(turn.before, self.split.own)
            mix = Mix.of(table, turn.before[own], turn.later, scores[own])
            return scores[fair], mix
        if self.continued is not None:
            return None
        fit = self.split.fit[then.shaping.rows]
        numbers = unseen_by_others(replace(table, texts=()).take(turn.past))
        numbers = numbers[np.searchsorted(turn.past, fit)]
        others = then.own + then.shaping.rules.unseen(then.shaping.x, numbers)
        rows = np.concatenate([fit, turn.before])
        return np.concatenate([others, scores]), Mix.of(table, rows, turn.later)
