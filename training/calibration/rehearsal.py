"""scores in order of time -> Outlook: what a calibration of the past makes of the time after it.

Under a change the promise of a calibration cannot be seen in the calibration itself: its records
and those that alarm come from the same time. So the last fold of time is played through. It is
judged by the member that saw nothing of it, with everything else of the score as the time before
gives it. Each of its blocks is compared with all scores before it. If nothing changes, records and
scores are exchangeable, and the number of alarms in a block is beta-binomial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, RateLaw, allowed_rank
from vaewatch.scoring.budget.described import block_law
from vaewatch.scoring.budget.own import calibrate_segments
from vaewatch.scoring.budget.segments import Segments, segment_column
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Laws, Outlook, outlook_of
from vaewatch.scoring.time.counted import BLOCKS, LEAST, Counted
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.neighbours import keep_records, neighbour_weight, part_for
from vaewatch.training.calibration.out_of_bag import OutOfBag, judged_by_folds
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.weights import Factors
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import Fitted

Scores = NDArray[np.float64]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Played:
    """N records that are played through, of whom the score may be fitted to `learned`, (N,): the
    suspects that a robust fit leaves out are judged like the others, since some of the records
    that calibrate are like them, but shape nothing.

    oob: their residuals, with folds that are blocks of time. x: (N, D) their features. table: the
    records themselves, with their times and segments. factors: what the parts of a score weigh.
    """

    oob: OutOfBag
    x: NDArray[np.float32]
    table: Table
    learned: NDArray[np.bool_]
    factors: Factors = Factors()

    @classmethod
    def of(cls, oob: OutOfBag, x: NDArray[np.float32], table: Table, factors: Factors) -> Played:
        """Return fit records."""
        return cls(oob, x, table, np.ones(len(x), np.bool_), factors)

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
    scores, later = _as_of_then(played, last, rules, config), last & known
    mix = Mix.of(played.table, ~last, later)
    return play(scores[~last], scores[later], times[later], config.alpha, mix)


def rehearse_recent(scores: Scores, table: Table, alpha: float) -> Outlook | None:
    """Calibrate on the earlier half of N held-out scores, and play the later half through."""
    times = table.times
    if times is None:
        return None
    known = np.flatnonzero(times != NO_TIME)
    order = known[np.argsort(times[known], kind="stable")]
    half = len(order) // 2
    past, later = order[:half], order[half:]
    return play(scores[past], scores[later], times[later], alpha, Mix.of(table, past, later))


@dataclass(frozen=True)
class Mix:
    """The segments of the records of the past, and of those that are played, as codes."""

    schema: Schema
    past: Codes
    later: Codes

    @classmethod
    def of(
        cls,
        table: Table,
        past: NDArray[np.int64] | NDArray[np.bool_],
        later: NDArray[np.int64] | NDArray[np.bool_],
    ) -> Mix | None:
        """Take those of a table's rows; None without a segment."""
        column = segment_column(table.schema)
        if column is None:
            return None
        codes = table.codes[:, table.schema.place[column.name]]
        return cls(table.schema, codes[past], codes[later])

    def in_order(self, order: NDArray[np.int64]) -> Mix:
        """Put those that are played in an order."""
        return replace(self, later=self.later[order])

    def segments(self, pooled: Calibration, before: Scores) -> Segments:
        """Calibrate each segment on its part of the (past + start,) scores before a block."""
        start = len(before) - len(self.past)
        codes = np.concatenate([self.past, self.later[:start]])
        return calibrate_segments(self.schema, codes, before, pooled)


def play(
    past: Scores,
    scores: Scores,
    times: NDArray[np.int64],
    alpha: float,
    mix: Mix | None = None,
    length: float = 1.0,
) -> Outlook | None:
    """Compare the scores of each block with all before it, those of the past included.

    length: how many neighbours alarm together, where there is no mix: they are worth one record.
    """
    if allowed_rank(alpha, len(past)) < 1 or not len(scores):
        return None
    order = np.argsort(times, kind="stable")
    scores, times = scores[order], times[order]
    mix = None if mix is None else mix.in_order(order)
    moments = Counted.of(times, np.zeros(len(times), bool))
    cuts = moments.cuts(max(1, min(BLOCKS, int(len(scores) / (LEAST * length)))))
    at = np.concatenate([[0], np.cumsum(moments.records)])[cuts]  # among the records
    alarms, laws = np.zeros(len(scores), bool), list[Laws]()
    for start, end in pairwise(at.tolist()):
        before = np.concatenate([past, scores[:start]])
        calibration = Calibration(np.sort(before), alpha, SPLIT)
        if mix is None:
            alarms[start:end] = calibration.alarms(calibration.p_values(scores[start:end]))
            laws.append({0: (_law(calibration, length), end - start)})
        else:
            segments, codes = mix.segments(calibration, before), mix.later[start:end]
            ranked = segments.rank(scores[start:end], codes)
            alarms[start:end] = calibration.alarms(ranked.p_value)
            laws.append(_laws(segments, ranked.slots))
    return outlook_of(Counted.of(times, alarms), cuts, laws)


def _law(calibration: Calibration, length: float) -> RateLaw:
    if length == 1.0:
        return calibration.rate_law()
    return block_law(calibration, calibration.alpha, max(1, round(calibration.n / length)))


def _laws(segments: Segments, slots: NDArray[np.int64]) -> Laws:
    """Return the law of each calibration that judges some of (N,) slots, by its segment's code; -1
    for the pooled one.
    """
    keys, laws = [-1, *segments.own], segments.laws()
    counts = np.bincount(slots, minlength=len(laws)).tolist()
    both = zip(keys, laws, counts, strict=True)
    return {key: (law, count) for key, law, count in both if count}


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
