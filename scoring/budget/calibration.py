"""scores -> p-values: the share of normal records that score at least as high.

Conformal prediction (Vovk, Gammerman & Shafer, 2005): if a new normal record is exchangeable with
the n calibration records, p = (1 + #{calibration scores >= score}) / (n + 1) is at most alpha with
probability at most alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaewatch.scoring.budget.entities import WholeEntities
from vaewatch.scoring.errors import CalibrationError, SettingError

FEW = 64  # scores: sorting so few before the search costs more than it saves
TIE = 1e-5  # of a score, or of one nat: closer ones are equal, as two machines round differently
SPLIT, CROSS_FITTED = "split", "cross-fitted"
DISCRETE = 0.1  # of the scores: if more tie with another, records come from a small set
CLOSE = 0.2  # of alpha: nearer rates to either side are as good as alpha itself
LEAST_ALPHA = 1e-9  # no calibration is large enough to certify less


@dataclass(frozen=True)
class Calibration:
    """Made by `vaewatch.training.calibration.calibrate`.

    scores: (n,) of normal records that the network was not fitted to, ascending.
    rule: SPLIT (of records that were held out) or CROSS_FITTED (out-of-bag scores of fit records).
    entities: those that were held out, where whole ones were; the scores are then as many as
    theirs are worth.
    """

    scores: NDArray[np.float64]
    alpha: float
    rule: str
    entities: WholeEntities | None = None

    def __post_init__(self) -> None:
        check_alpha(self.alpha, len(self.scores))

    @property
    def n(self) -> int:
        return len(self.scores)

    @property
    def alike(self) -> float:
        """How many records are worth one independent record."""
        return 1.0 if self.entities is None else self.entities.alike

    @cached_property
    def _tied(self) -> NDArray[np.float64]:
        """(n,) calibration scores, each raised to the top of its tie: ties count as normal."""
        return self.scores + slack(self.scores)

    @cached_property
    def p_value_of(self) -> NDArray[np.float64]:
        """(n + 1,) p-values, of a score with 0, 1, ..., n calibration scores below it."""
        return np.arange(self.n + 1, 0, -1) / (self.n + 1)

    @cached_property
    def severity_of(self) -> NDArray[np.float64]:
        """(n + 1,) severities, in the order of `p_value_of`."""
        return severity(self.p_value_of)

    def below(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N,) scores -> (N,): how many calibration scores are below each."""
        if len(scores) <= FEW:
            return self._tied.searchsorted(scores)
        order = scores.argsort()  # in order, a search ends near where the last one did
        below = np.empty(len(scores), np.int64)
        below[order] = self._tied.searchsorted(scores.take(order))
        return below

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) scores -> (N,) p-values, from 1 / (n + 1) for the most anomalous to 1."""
        return self.p_value_of.take(self.below(scores))

    def score_of(self, p_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) p-values -> (N,): the highest calibration score that gets no smaller one."""
        above = np.ceil(p_values * (self.n + 1) - TIE).astype(np.int64) - 1
        return np.asarray(self.scores[self.n - above.clip(1, self.n)])

    def alarms(
        self, p_values: NDArray[np.float64], alpha: float | None = None
    ) -> NDArray[np.bool_]:
        """(N,) p-values -> (N,): which are anomalies, at the calibration's own alpha by default.

        This is the only comparison with alpha: every verdict, count and report rests on it.
        """
        return p_values <= (self.alpha if alpha is None else alpha)

    def threshold(self, alpha: float) -> float | None:
        """Return the score in nats from which a record is an anomaly at alpha, for people.

        An alpha below 1 / (n + 1) has none.
        """
        k = allowed_rank(alpha, self.n)
        return float(self.scores[self.n - k]) if k >= 1 else None

    def rate_law(self, alpha: float | None = None) -> RateLaw:
        """Return the law of the true false-alarm rate, at the calibration's own alpha by default.

        Out-of-bag scores are not those of the members that serve, so that they only bound the rate
        from above.
        """
        if self.entities is not None:
            return block_law(self, self.alpha if alpha is None else alpha, self.entities.blocks)
        k, above, tied = self._at_threshold(alpha)
        low, high = (above, above + 1) if tied > 1 or self._often_tie else (k, k)
        return RateLaw(self.n, low if self.rule == SPLIT else 0, high)

    @cached_property
    def _often_tie(self) -> bool:
        """Whether the scores are discrete: then one that is alone here may tie in traffic."""
        tied = self.scores[1:] <= self._tied[:-1]
        return bool(np.count_nonzero(tied) > DISCRETE * self.n)

    def step(self, alpha: float | None = None) -> Step | None:
        """Return the rates around alpha that can be reached; None if they are close."""
        k, above, tied = self._at_threshold(alpha)
        if tied < 2 or tied <= CLOSE * k:
            return None
        return Step(above / self.n, (above + tied) / self.n)

    def _at_threshold(self, alpha: float | None) -> tuple[int, int, int]:
        """Return the allowed rank, how many scores are above the threshold, and how many tie."""
        k = allowed_rank(self.alpha if alpha is None else alpha, self.n)
        top = self._tied[self.n - k]
        above = self.n - int(self.scores.searchsorted(top, side="right"))
        return k, above, self.n - above - int(self._tied.searchsorted(self.scores[self.n - k]))


@dataclass(frozen=True)
class Step:
    """Where scores tie at the threshold: the share of normal records that alarm, `rate`, and
    `above`, the next rate that can be reached. Alpha lies between the two.
    """

    rate: float
    above: float


def allowed_rank(alpha: float, n: int) -> int:
    """Return the largest k with k / (n + 1) <= alpha: of n + 1 exchangeable records, k may
    alarm.
    """
    k = math.floor(alpha * (n + 1))  # rounded, so that one more may be right, or one less
    k = k + 1 if (k + 1) / (n + 1) <= alpha else k
    return k if k / (n + 1) <= alpha else k - 1


@dataclass(frozen=True)
class RateLaw:
    """The law of the true false-alarm rate, over draws of the n calibration records.

    With k records at or above the threshold it is Beta(k, n + 1 - k) (Vovk, 2012): low = high = k.
    Where scores tie at the threshold, only some rates can be reached. The law then lies between
    those of the records above the tie: low of them, and high = low + 1, as for the two ends of
    Clopper & Pearson's interval (1934). Low is 0 where the rate may be 0, and high n + 1 where it
    may be 1.
    """

    n: int
    low: int
    high: int

    @classmethod
    def of(cls, alpha: float, n: int) -> RateLaw:
        """Return the law at alpha of n calibration records without ties."""
        k = allowed_rank(alpha, n)
        return cls(n, k, k)

    @property
    def mean(self) -> float:
        """The mean of the true rate, as a share; with ties, a bound of it from above."""
        return self.high / (self.n + 1)

    @property
    def bounded(self) -> bool:
        """Whether `mean` is a bound only."""
        return self.low < self.high

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the central range of the true rate, as shares."""
        low = _beta_quantile(self.low, self.n, (1 - level) / 2) if self.low else 0.0
        return low, _beta_quantile(self.high, self.n, (1 + level) / 2)


@dataclass(frozen=True)
class BlockLaw(RateLaw):
    """The law of windows, whose alarms come together: that of n independent blocks of `length`
    records, each of which alarms as a whole or not at all.

    rate: the mean of the true rate. With few blocks, the nearest rank would be far from it.
    """

    rate: float
    length: float

    @property
    def mean(self) -> float:
        return self.rate

    @property
    def bounded(self) -> bool:
        return self.low < self.high - 1  # a block that the threshold may cut is one more


def block_law(calibration: Calibration, alpha: float, blocks: int) -> BlockLaw:
    """Return the law of the true false-alarm rate of windows whose scores are worth so many
    independent ones.

    The threshold may cut through a block, so that the law lies between those of the blocks wholly
    above it and of one more. The members that serve, and the windows that are kept, have seen all
    of the fit data, so that the rate may be lower than asked, as with any cross-fitted
    calibration.
    """
    low = min(allowed_rank(alpha, blocks), blocks)
    high = low if low and blocks >= calibration.n else min(low + 1, blocks)
    records = calibration.n if calibration.entities is None else calibration.entities.records
    length = max(records / max(blocks, 1), 1.0)
    return BlockLaw(blocks, low if calibration.rule == SPLIT else 0, high, alpha, length)


def _beta_quantile(k: int, n: int, share: float) -> float:
    """Return the x below which Beta(k, n + 1 - k) has this share.

    There, n trials of probability x give fewer than k successes with probability 1 - share. More
    than n of them are never reached, so that x is then 1.
    """
    if k > n:
        return 1.0
    j = np.arange(1, k)
    ways = np.concatenate([[0.0], np.cumsum(np.log((n - j + 1) / j))])  # log C(n, 0 ... k - 1)
    hits = np.arange(k)
    low, high = 0.0, 1.0
    for _ in range(60):
        x = (low + high) / 2
        fewer = np.exp(ways + hits * math.log(x) + (n - hits) * math.log1p(-x)).sum()
        low, high = (x, high) if fewer > 1 - share else (low, x)
    return (low + high) / 2


def records_needed(alpha: float) -> int:
    """Return how many calibration records it takes to certify alpha at all."""
    n = math.ceil(1 / alpha) - 1  # rounded, so that one more may be right, or one less
    n = n if 1 / (n + 1) <= alpha else n + 1
    return n - 1 if n and 1 / n <= alpha else n


def records_for_precision(alpha: float, relative: float = 0.2) -> int:
    """Return how many calibration records bring the 95% interval of the true rate within
    +- `relative` of alpha.
    """
    return int(np.ceil(1.96**2 * (1 - alpha) / (alpha * relative**2)))


def check_rate(alpha: float) -> None:
    """Refuse an alpha that no calibration could certify.

    Raises:
        SettingError: it is not between LEAST_ALPHA and 1.
    """
    if not LEAST_ALPHA <= alpha < 1:
        share = " It is a share: 0.01 is 1%." if alpha >= 1 else ""
        raise SettingError(
            f"alpha must be at least {LEAST_ALPHA:g} and below 1, got {alpha:g}.{share}"
        )


def slack(scores: ArrayLike) -> NDArray[np.float64]:
    """Return how far from each score another one still counts as equal."""
    return np.asarray(TIE * np.maximum(np.abs(scores), 1.0))


def check_alpha(alpha: float, n: int) -> None:
    """Refuse an alpha that n calibration records cannot certify.

    Raises:
        SettingError: no number of records could.
        CalibrationError: more records could.
    """
    check_rate(alpha)
    if allowed_rank(alpha, n) < 1:
        larger = f", or ask for alpha {least_alpha(n):g} or more" if n else ""
        raise CalibrationError(
            f"alpha {alpha:g} takes at least {records_needed(alpha):,} calibration records, got "
            f"{n:,}. Give more normal records{larger}."
        )


def least_alpha(n: int) -> float:
    """Return the smallest alpha of three digits that n records can certify."""
    return round_up(1 / (n + 1))


def round_up(share: float) -> float:
    """Return the smallest number of three digits that is no less than a share."""
    scale = 10.0 ** (2 - math.floor(math.log10(share)))
    return math.ceil(share * scale) / scale


# upper edges of the severities that are counted together: in batch, in the service and its metrics
SEVERITIES = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)


def severity(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) p-values -> (N,) severities, -log10 p: 2 is one normal record in 100, 3 in 1,000."""
    return 0.0 - np.log10(p_values)  # and not -0.0


def count_severities(severities: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) severities -> (len(SEVERITIES) + 1,) counts in each range; the last one is open."""
    at = np.searchsorted(SEVERITIES, severities, side="left")
    return np.bincount(at, minlength=len(SEVERITIES) + 1)
