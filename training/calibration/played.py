"""fit records -> Outlook: the last fold of time, played through as if nothing of it were known.

It is judged by the member that saw nothing of it, with everything else of the score as the time
before gives it. Each of its blocks is compared with all scores before it (see
`vaewatch.training.calibration.rehearsal`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.neighbours import keep_records, neighbour_weight, part_for
from vaewatch.training.calibration.out_of_bag import OutOfBag, judged_by_folds
from vaewatch.training.calibration.rehearsal import Mix, play
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.weights import Factors
from vaewatch.training.odd.columns import ColumnCosts, ColumnView, may_view
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import Fitted

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """N records that are played through, of whom the score may be fitted to `learned`, (N,): the
    suspects that a robust fit leaves out are judged like the others, since some of the records
    that calibrate are like them, but shape nothing.

    oob: their residuals, with folds that are blocks of time. x: (N, D) their features. table: the
    records themselves, with their times and segments. factors: what the parts of a score weigh.
    columns: (D,) of the features, if the score looks at each column by itself, too.
    """

    oob: OutOfBag
    x: NDArray[np.float32]
    table: Table
    learned: NDArray[np.bool_]
    factors: Factors = Factors()
    columns: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        oob: OutOfBag,
        x: NDArray[np.float32],
        table: Table,
        factors: Factors,
        columns: NDArray[np.int64] | None,
    ) -> Played:
        """Return fit records."""
        return cls(oob, x, table, np.ones(len(x), np.bool_), factors, columns)

    @property
    def times(self) -> NDArray[np.int64]:
        """When they were made, (N,)."""
        return times_of(self.table)

    def with_suspects(
        self, x: NDArray[np.float32], table: Table, fitted: Fitted, config: TrainConfig
    ) -> Played:
        """Return these and M suspects of (M, D) features, each judged by the member that saw
        nothing of its block of time.
        """
        rng = stream(config.seed, Stream.SUSPECTS)
        drawn = np.sort(rng.permutation(len(x))[: self._as_many(len(x), fitted)])
        x, table = x[drawn], table.take(drawn)
        known, times = np.sort(self.times[self.times != NO_TIME]), times_of(table)
        place = np.searchsorted(known, times) / max(len(known), 1)
        place = np.where(times == NO_TIME, rng.random(len(times)), place)
        folds = fitted.folds.at(place)
        oob = judged_by_folds(fitted, x, folds, kl=config.model == "vae")
        return Played(
            self.oob.join(oob),
            np.concatenate([self.x, x]),
            self.table.join(table),
            np.concatenate([self.learned, np.zeros(len(x), np.bool_)]),
            self.factors,
            self.columns,
        )

    def _as_many(self, suspects: int, fitted: Fitted) -> int:
        """Return how many of the suspects are taken: the share that is taken of fit records."""
        return round(suspects * len(self.x) / len(fitted.folds.of))


def times_of(table: Table) -> NDArray[np.int64]:
    """Return when N records were made, (N,); NO_TIME of each if they have no time column."""
    return np.full(len(table), NO_TIME) if table.times is None else table.times


def rehearse(played: Played, rules: Rules, config: TrainConfig) -> Outlook | None:
    """Play the last fold of time through.

    Returns:
        None if the time before has too few records to certify alpha, or there is no time.
    """
    times = played.times
    known = times != NO_TIME
    if not known.any() or times[known].min() == times[known].max():
        return None
    last = played.oob.folds == played.oob.folds.max()
    scores = _viewed(played, last, rules, _as_of_then(played, last, rules, config))
    later = last & known
    mix = Mix.of(played.table, ~last, later)
    return play(scores[~last], scores[later], times[later], config.alpha, mix)


def _viewed(played: Played, last: NDArray[np.bool_], rules: Rules, scores: Scores) -> Scores:
    """Return (N,) scores with a view of single columns that knows nothing of the last fold."""
    past, residuals = played.learned & ~last, played.oob.residuals
    if played.columns is None or not may_view(int(past.sum()), played.columns):
        return scores
    precision = fit_precision(residuals[past])
    whitened = precision.whiten(residuals.astype(np.float64))
    costs = ColumnCosts.of(precision, played.columns)
    view = ColumnView.of(costs, whitened[past], scores[past], rules.nats)
    return np.maximum(scores, view.least(whitened[None]))


def _as_of_then(
    played: Played, last: NDArray[np.bool_], rules: Rules, config: TrainConfig
) -> Scores:
    """Return the (N,) scores under a rule that knows nothing of the last fold."""
    oob, x, past = played.oob, played.x, played.learned & ~last
    out = np.empty(len(oob.residuals))
    for fold in np.unique(oob.folds):
        inside = oob.folds == fold
        others = past & ~inside if (past & ~inside).any() else past
        out[inside] = rules.cost(oob.residuals[inside], fit_precision(oob.residuals[others]))
    if config.score == "reconstruction":
        return out
    bare, out = out + oob.kl, out + played.factors.kl * oob.kl
    bank, own = keep_records(x[past], config.neighbours, config.seed)
    if len(bank) < 2:
        return out
    places = np.full(len(x), -1)
    places[past] = own
    distance = bank.distance(x, places)
    share = part_for(x.shape[1]).share
    weight = neighbour_weight(bare[past], distance[past], share) * played.factors.neighbour
    return np.asarray(out + weight * distance)
