"""fit records, held-out records -> Outlook: the last fold of time, played through as if nothing of
it were known.

The member that leaves it out judges it, with everything else of the score as the time before gives
it. Members differ in what they make of rare values, so that what one of them gives is compared
with nothing that another one gave. The past are the records from before the last fold that its
judge has not seen, either: those that are held out, and where they are few, some more. So it is
calibrated as an artifact of that time would have been. Where even these cannot certify alpha, the
past are the other folds, each judged by the member that leaves it out.
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
from vaewatch.training.split.order import held_out_blocks
from vaewatch.training.split.split import Split, records_for
from vaewatch.training.streams import Stream, stream
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.then import features_then
from vaewatch.training.vae.fit import Fitted
from vaewatch.training.vae.folds import Folds

Scores = NDArray[np.float64]
Rows = NDArray[np.int64]

RANK = 20  # records of the past that may alarm, where it has enough
MOST = 1 / 4  # of the fit records of before that its judge does not see, for that


@dataclass(frozen=True)
class Shaping:
    """What shapes a score: R of the fit records, each judged by the member that did not see it.

    oob: their residuals, with folds that are blocks of time. errors: (F, D) of the judges, see
    `errors_of_judges`. x: (R, D) their features. rows: (R,) their places among the fit records.
    unseen: nats of an unseen value. factors: what the parts of a score weigh. columns: (D,) of the
    features, if the score looks at each column by itself, too.
    """

    oob: OutOfBag
    errors: NDArray[np.float64]
    x: NDArray[np.float32]
    rows: Rows
    rules: Rules
    unseen: float
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
    def of(cls, past: Shaping, judge: int, config: TrainConfig) -> Then:
        """Fit the score to the past, for what the judge of a fold makes of other records."""
        bare = past.oob.reconstruction(past.rules, past.errors) + past.oob.kl
        own = bare + (past.factors.kl - 1) * past.oob.kl
        precision = past.oob.precision(past.errors[judge])
        found = cls(past, precision, None, 0.0, None, own)
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
        return np.asarray(scores + self.shaping.unseen * unseen)


@dataclass(frozen=True)
class Turn:
    """Rows of a table of all records, on both sides of the moment at which the last fold begins.

    past: fit records that its judge has seen. before: (B,) records of before that it has not, of
    which those that are `fair`, (B,), are together like any other records. later: (L,) what is
    played through, which the judge has not seen, either. enough: whether those of before certify
    alpha.
    """

    past: Rows
    before: Rows
    fair: NDArray[np.bool_]
    later: Rows
    enough: bool

    def features(self, table: Table, known: Vectorizer) -> Features:
        """Return the features of the records before and later, as if no later one were known."""
        rows = np.concatenate([self.past, self.before, self.later])
        # No text is named, and to copy them takes longer than all else.
        some = replace(table, texts=()).take(rows)
        return features_then(some, np.arange(len(self.past)), known)[len(self.past) :]


def set_aside(
    folds: Folds,
    times: NDArray[np.int64],
    split: Split,
    config: TrainConfig,
    continued: Continued | None = None,
) -> Folds:
    """Leave more records of before the last fold out of what its judge sees, in blocks of time, if
    those that are held out are too few for a narrow range: a quarter at most.

    times: (N,) of all records.
    """
    last, own = folds.of == len(folds.judges) - 1, times[split.fit]
    begins = own[last & (own != NO_TIME)]
    if not len(begins):
        return folds
    held_out = times[split.held_out]
    before = int(((held_out != NO_TIME) & (held_out < begins.min())).sum())
    may = ~last & (own != NO_TIME)
    if continued is not None:
        may &= ~continued.known[split.fit]
    size = min(records_for(RANK, config.alpha) - before, int(may.sum() * MOST))
    if size < 1 or not len(held_out) or allowed_rank(config.alpha, before + size) < 1:
        return folds
    chosen = held_out_blocks(own[may], size, stream(config.seed, Stream.ASIDE))
    return folds.without(np.flatnonzero(may)[chosen], len(folds.judges) - 1)


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
        seen = (self.shaping.oob.folds != self._last) & ~self._aside[self.shaping.rows]
        then = Then.of(self.shaping.only(seen), self._last, config)
        found = turn.features(self.table, self.known)
        fold = np.full(len(found), self._last)
        oob = judged_by_folds(self.fitted, found.values, fold, kl=config.model == "vae")
        scores = then.scores(oob, found.values, found.unseen.sum(1))
        before, later = np.split(scores, [len(turn.before)])
        if turn.enough:
            mix = Mix.of(self.table, turn.before, turn.later, before)
            past = before[turn.fair]
        elif self.continued is None:
            own, rows = self._other_folds(turn, then)
            mix = Mix.of(self.table, np.concatenate([rows, turn.before]), turn.later)
            past = np.concatenate([own, before])
        else:
            return None
        return play(past, later, times[turn.later], config.alpha, mix)

    @property
    def _last(self) -> int:
        return len(self.fitted.folds.judges) - 1

    @property
    def _aside(self) -> NDArray[np.bool_]:
        """Which fit records of other folds the last one's judge has not seen."""
        folds = self.fitted.folds
        if folds.beside is None:
            return np.zeros(len(folds.of), np.bool_)
        return folds.beside[:, self._last]

    def _turn(self, times: NDArray[np.int64], config: TrainConfig) -> Turn | None:
        """Return what is played through, of fit records those that shape the score."""
        split, rows = self.split, self.shaping.rows
        last, aside = self.fitted.folds.of == self._last, self._aside
        own = split.fit[rows[last[rows]]]
        own = own[times[own] != NO_TIME]
        if self.continued is not None:
            own = own[~self.continued.known[own]]
        given = times[times != NO_TIME]
        if not len(own) or given.min() == given.max():
            return None

        def earlier(some: Rows) -> Rows:
            begun = times[some] >= times[own].min()
            return np.asarray(some[(times[some] != NO_TIME) & ~begun])

        fair = np.concatenate([earlier(split.held_out), split.fit[aside]])
        enough = allowed_rank(config.alpha, len(fair)) >= 1
        # What was taken out of the fit records has a part on each side as large as theirs.
        shaping = len(rows) / len(split.fit)
        share = float(aside.sum() / (~last).sum()) if enough else shaping
        fair = np.concatenate([fair, earlier(self._taken_out(share, config))])
        # Segments count one by one, so that they may have all that were held out for them.
        more = np.setdiff1d(earlier(split.own), fair)
        later = np.concatenate([split.held_out, self._taken_out(shaping, config)])
        return Turn(
            split.fit[~last & ~aside],
            np.concatenate([fair, more]),
            np.arange(len(fair) + len(more)) < len(fair),
            np.concatenate([own, later[times[later] >= times[own].min()]]),
            enough,
        )

    def _taken_out(self, share: float, config: TrainConfig) -> Rows:
        """Draw a share of the suspects, and of what segments alone have for a calibration."""
        split = self.split
        others = np.concatenate([split.trimmed, np.setdiff1d(split.own, split.held_out)])
        order = stream(config.seed, Stream.SUSPECTS).permutation(len(others))
        return np.asarray(others[order[: round(share * len(others))]])

    def _other_folds(self, turn: Turn, then: Then) -> tuple[Scores, Rows]:
        """Return the scores and the rows of the fit records of before that shape the score."""
        fit = self.split.fit[then.shaping.rows]
        numbers = unseen_by_others(replace(self.table, texts=()).take(turn.past))
        numbers = numbers[np.searchsorted(turn.past, fit)]
        shaping = then.shaping
        brought = shaping.rules.unseen(shaping.x, numbers)
        return then.own + shaping.unseen * brought, fit
