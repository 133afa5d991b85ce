"""scores in order of time -> Outlook: what a calibration of the past makes of the time after it.

Under a change the promise of a calibration cannot be seen in the calibration itself: its records
and those that alarm come from the same time. So the last fold of time is played through. It is
judged by the member that saw nothing of it, with everything else of the score as the time before
gives it. Each of its blocks is compared with all scores before it. If nothing changes, records and
scores are exchangeable, and the number of alarms in a block is beta-binomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, RateLaw, allowed_rank
from vaewatch.scoring.time.blocks import Counted, Outlook, outlook_of
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.neighbours import keep_records, neighbour_weight, part_for
from vaewatch.training.calibration.out_of_bag import OutOfBag, judged_by_folds
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import Fitted

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Played:
    """N records that are played through, of whom the score may be fitted to `learned`, (N,): the
    suspects that a robust fit leaves out are judged like the others, since some of the records
    that calibrate are like them, but shape nothing.

    oob: their residuals, with folds that are blocks of time. x: (N, D) their features. times: (N,)
    when they were made.
    """

    oob: OutOfBag
    x: NDArray[np.float32]
    times: NDArray[np.int64]
    learned: NDArray[np.bool_]

    @classmethod
    def of(cls, oob: OutOfBag, x: NDArray[np.float32], times: NDArray[np.int64]) -> Played:
        """Return fit records."""
        return cls(oob, x, times, np.ones(len(x), np.bool_))

    def with_suspects(
        self, x: NDArray[np.float32], times: NDArray[np.int64], fitted: Fitted, config: TrainConfig
    ) -> Played:
        """Return these and M suspects of (M, D) features and (M,) times, each judged by the member
        that saw nothing of its block of time.
        """
        rng = stream(config.seed, Stream.SUSPECTS)
        drawn = np.sort(rng.permutation(len(x))[: self._as_many(len(x), fitted)])
        x, times = x[drawn], times[drawn]
        known = np.sort(self.times[self.times != NO_TIME])
        place = np.searchsorted(known, times) / max(len(known), 1)
        place = np.where(times == NO_TIME, rng.random(len(times)), place)
        folds = fitted.folds.at(place)
        oob = judged_by_folds(fitted, x, folds, kl=config.model == "vae")
        return Played(
            self.oob.join(oob),
            np.concatenate([self.x, x]),
            np.concatenate([self.times, times]),
            np.concatenate([self.learned, np.zeros(len(x), np.bool_)]),
        )

    def _as_many(self, suspects: int, fitted: Fitted) -> int:
        """Return how many of the suspects are taken: the share that is taken of fit records."""
        return round(suspects * len(self.x) / len(fitted.folds.of))


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
    scores = _as_of_then(played, last, rules, config)
    return play(scores[~last], scores[last & known], times[last & known], config.alpha)


def rehearse_recent(scores: Scores, times: NDArray[np.int64], alpha: float) -> Outlook | None:
    """Calibrate on the earlier half of N held-out scores, and play the later half through."""
    known = np.flatnonzero(times != NO_TIME)
    order = known[np.argsort(times[known], kind="stable")]
    half = len(order) // 2
    later = order[half:]
    return play(scores[order[:half]], scores[later], times[later], alpha)


def play(past: Scores, scores: Scores, times: NDArray[np.int64], alpha: float) -> Outlook | None:
    """Compare the scores of each block with all before it, those of the past included."""
    if allowed_rank(alpha, len(past)) < 1 or not len(scores):
        return None
    order = np.argsort(times, kind="stable")
    scores, times = scores[order], times[order]
    moments = Counted.of(times, np.zeros(len(times), bool))
    cuts = moments.cuts()
    at = np.concatenate([[0], np.cumsum(moments.records)])[cuts]  # among the records
    alarms, laws = np.zeros(len(scores), bool), list[RateLaw]()
    for start, end in zip(at.tolist(), at[1:].tolist(), strict=False):
        before = np.sort(np.concatenate([past, scores[:start]]))
        calibration = Calibration(before, alpha, SPLIT)
        alarms[start:end] = calibration.alarms(calibration.p_values(scores[start:end]))
        laws.append(calibration.rate_law())
    return outlook_of(Counted.of(times, alarms), cuts, laws)


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
    out = out + oob.kl
    bank, own = keep_records(x[past], config.neighbours, config.seed)
    if len(bank) < 2:
        return out
    places = np.full(len(x), -1)
    places[past] = own
    distance = bank.distance(x, places)
    share = part_for(x.shape[1]).share
    return np.asarray(out + neighbour_weight(out[past], distance[past], share) * distance)
