"""scores -> evidence that traffic no longer looks like the calibration data, at any time.

A test martingale on conformal p-values (Vovk, Gammerman & Shafer 2005; Vovk et al., "Retrain or
not retrain", 2021): while new scores are exchangeable with the calibration scores its value starts
at 1 and stays a fair game, so by Ville's inequality it ever exceeds c with probability at most
1 / c, however long and however often one looks.

Each p-value ranks a score among the calibration scores *and* those before it in the stream, ties
broken at random: these are independent and uniform, exactly. Ranks against the calibration alone
are not: over a long stream the error of a finite calibration sample would look like a change.

The bets are linear, 1 + e (p - 1/2), for a few slopes e: each wins on a shift of the p-values to
one side, small or large, and can never be ruined, because e (p - 1/2) stays above -3/4. A player
that bets from the first record on has lost too much in a long quiet time to notice a change soon.
So part of the capital waits: at every 100 records, for the k-th time, 1 / (k (k + 1)) of it enters
the game. What still waits, 1 / (k + 1), bounds the loss, and the delay grows only with log k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import CROSS_FITTED, Calibration
from vaewatch.scoring.drift import count_true

EVIDENCE = 2.0  # log10 of its value: by chance alone at most 1% of streams exceed it
SLOPES = np.array([-1.5, -0.5, 0.5, 1.5])
ROUND = 100  # records, after which more capital enters
TOGETHER = 256  # scores that are ranked in one step
WIDE = 128  # places in a row: of a few rows or many, one step adds up one row and the rows' sums


def worth(scores: NDArray[np.float64], spacing: int) -> NDArray[np.float64]:
    """(n,) calibration scores, ascending, of which one in `spacing` is independent of the others
    -> as many as are, spread like all: what one in `spacing` new scores can be ranked among.
    """
    return scores[spacing // 2 :: spacing]


@cache
def _before() -> NDArray[np.bool_]:
    """Return which columns are before each row's own, (TOGETHER, TOGETHER)."""
    return np.tri(TOGETHER, k=-1, dtype=bool)


@dataclass
class Ranks:
    """The scores seen so far, as counts at each calibration score and between two of them: bounded
    memory. Those of a stream between the same two are as likely in either order, so that their
    ties may be broken at random.
    """

    calibration: NDArray[np.float64]  # ascending
    generator: np.random.Generator = field(default_factory=np.random.default_rng)
    _counts: NDArray[np.int64] = field(init=False)  # (rows, WIDE)
    _rows: NDArray[np.int64] = field(init=False)  # (rows,) their sums
    _total: int = field(init=False)

    def __post_init__(self) -> None:
        places = 2 * len(self.calibration) + 1
        self._counts = np.zeros((-(-places // WIDE), WIDE), dtype=np.int64)
        np.add.at(self._counts, self._place(self.calibration), 1)
        self._rows = self._counts.sum(1)
        self._total = len(self.calibration)

    def _place(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the place of each score, its row and column: the calibration scores below it and
        those up to it, added up.
        """
        below = np.searchsorted(self.calibration, scores, side="left")
        return np.divmod(below + np.searchsorted(self.calibration, scores, side="right"), WIDE)

    def _earlier(self, true: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count, in each row of an (N, N) array, the true values left of its diagonal."""
        n = len(true)
        return count_true(true & _before()[:n, :n])

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) scores -> (N,) smoothed p-values, each among all scores before it; N is at most
        TOGETHER.
        """
        at, n = self._place(scores), len(scores)
        row, column = at
        narrow = (row * WIDE + column).astype(np.int32)  # half the bytes to compare
        higher = self._total - self._rows.cumsum()[row]
        higher += self._counts[row].sum(1, where=np.arange(WIDE) > column[:, None])
        higher += self._earlier(narrow[None, :] > narrow[:, None])
        equal = self._counts[at] + self._earlier(narrow[None, :] == narrow[:, None]) + 1
        seen = self._total + np.arange(n) + 1
        np.add.at(self._counts, at, 1)
        np.add.at(self._rows, row, 1)
        self._total += n
        return np.asarray((higher + self.generator.random(n) * equal) / seen)


@dataclass
class Players:
    """The capital that is bet against exchangeability, 1 at the start. It is kept as logarithms:
    after a long change and a long quiet time no float would hold it.
    """

    slopes: NDArray[np.float64] = field(default_factory=lambda: SLOPES)
    _stakes: NDArray[np.float64] = field(init=False)
    _records: int = 0

    def __post_init__(self) -> None:
        self._stakes = np.full(len(self.slopes), -np.inf)

    def bet(self, p_values: NDArray[np.float64]) -> None:
        """Bet on each of (N,) p-values, in order."""
        start = 0
        while start < len(p_values):
            if self._records % ROUND == 0:
                self._enter(self._records // ROUND + 1)
            part = p_values[start : start + ROUND - self._records % ROUND]
            gains = np.prod(1 + self.slopes * (part[:, None] - 0.5), axis=0)  # at most ROUND bets
            self._stakes = self._stakes + np.log(gains)
            self._records += len(part)
            start += len(part)

    def _enter(self, k: int) -> None:
        self._stakes = np.logaddexp(self._stakes, -math.log(k * (k + 1) * len(self.slopes)))

    @property
    def log10(self) -> float:
        """log10 of all capital, including what still waits."""
        waiting = -math.log(-(-self._records // ROUND) + 1)
        return float(np.logaddexp.reduce(self._stakes, initial=waiting)) / math.log(10)


class Exchangeability:
    """The ranks and bets of one model's stream of scores.

    Where segments have calibrations of their own, each score is ranked within its segment. Such
    p-values are independent and uniform, too (Vovk et al., 2005, ch. 4.5), however the mix of the
    segments changes: that breaks no segment's budget. Records that the pooled calibration judges
    are left out, unless it judges all of them: it promises nothing to a single segment.

    Args:
        calibration: the pooled scores, ascending.
        own: those of each segment with a calibration of its own, ascending.
        upward: bet on higher scores alone. Cross-fitted calibration scores may lie above those
            that serving gives, which is no change of traffic.
    """

    def __init__(
        self,
        calibration: NDArray[np.float64],
        generator: np.random.Generator | None = None,
        own: Sequence[NDArray[np.float64]] = (),
        upward: bool = False,
    ) -> None:
        generator = generator or np.random.default_rng()
        self._by_segment = bool(own)
        self._ranks = [Ranks(scores, generator) for scores in own or [calibration]]
        self._players = Players(SLOPES[SLOPES < 0] if upward else SLOPES)

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        own: Sequence[NDArray[np.float64]] = (),
        generator: np.random.Generator | None = None,
        spacing: int = 1,
    ) -> Exchangeability:
        """Return that of the stream which a calibration judges, of which one record in `spacing`
        is looked at.
        """
        scores = calibration.scores
        if calibration.entities is None:  # whose scores are as many as theirs are worth already
            scores = worth(scores, spacing)
        return cls(scores, generator, own, upward=calibration.rule == CROSS_FITTED)

    def update(self, scores: NDArray[np.float64], slots: NDArray[np.int64] | None = None) -> float:
        """Take (N,) scores, in order; returns log10 of the martingale after them.

        Args:
            slots: (N,) which of `own` judges each record, from 1; 0 for the pooled calibration.
        """
        if self._by_segment and slots is not None:
            scores, slots = scores[slots > 0], slots[slots > 0] - 1
        else:
            slots = np.zeros(len(scores), np.int64)
        for start in range(0, len(scores), TOGETHER):
            some = slice(start, start + TOGETHER)
            self._players.bet(self._p_values(scores[some], slots[some]))
        return self._players.log10

    def _p_values(
        self, scores: NDArray[np.float64], slots: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if len(self._ranks) == 1:
            return self._ranks[0].p_values(scores)
        p_values = np.empty(len(scores))
        for slot in np.unique(slots).tolist():
            rows = np.flatnonzero(slots == slot)
            p_values[rows] = self._ranks[slot].p_values(scores[rows])
        return p_values
