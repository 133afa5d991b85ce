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
from numpy.typing import NDArray

from vaewatch.scoring.errors import CalibrationError, SettingError

FEW = 64  # scores: sorting so few before the search costs more than it saves
TIE = 1e-5  # of a score, or of one nat: closer ones are equal, as two machines round differently
LEAST_ALPHA = 1e-9  # no calibration is large enough to certify less


@dataclass(frozen=True)
class Calibration:
    """Made by `vaewatch.training.calibration.calibrate`.

    scores: (n,) of normal records that the network was not fitted to, ascending.
    rule: 'cross-fitted' (out-of-bag scores of the fit records) or 'split' (records held out).
    """

    scores: NDArray[np.float64]
    alpha: float
    rule: str

    def __post_init__(self) -> None:
        check_alpha(self.alpha, len(self.scores))

    @property
    def n(self) -> int:
        return len(self.scores)

    @cached_property
    def _tied(self) -> NDArray[np.float64]:
        """(n,) calibration scores, each raised to the top of its tie: ties count as normal."""
        return self.scores + TIE * np.maximum(np.abs(self.scores), 1.0)

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


def allowed_rank(alpha: float, n: int) -> int:
    """Return the largest k with k / (n + 1) <= alpha: of n + 1 exchangeable records, k may
    alarm.
    """
    k = math.floor(alpha * (n + 1))
    return k + 1 if (k + 1) / (n + 1) <= alpha else k


def rate_interval(alpha: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the central range of the true false-alarm rate over calibration sets, as shares.

    Its law is Beta(k, n + 1 - k) (Vovk, 2012).
    """
    k = allowed_rank(alpha, n)
    return _beta_quantile(k, n, (1 - level) / 2), _beta_quantile(k, n, (1 + level) / 2)


def _beta_quantile(k: int, n: int, share: float) -> float:
    """Return the x below which Beta(k, n + 1 - k) has this share.

    There, n trials of probability x give fewer than k successes with probability 1 - share.
    """
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
    n = math.ceil(1 / alpha) - 1
    return n if 1 / (n + 1) <= alpha else n + 1


def check_rate(alpha: float) -> None:
    """Refuse an alpha that no calibration could certify.

    Raises:
        SettingError: it is not between LEAST_ALPHA and 1.
    """
    if not LEAST_ALPHA <= alpha < 1:
        raise SettingError(f"alpha must be between {LEAST_ALPHA:g} and 1, got {alpha:g}.")


def check_alpha(alpha: float, n: int) -> None:
    """Refuse an alpha that n calibration records cannot certify.

    Raises:
        SettingError: no number of records could.
        CalibrationError: more records could.
    """
    check_rate(alpha)
    if allowed_rank(alpha, n) < 1:
        raise CalibrationError(
            f"alpha {alpha:g} takes at least {records_needed(alpha):,} calibration records, got "
            f"{n:,}. "
            f"Give more normal records, or ask for alpha {_least_alpha(n):g} or more."
        )


def _least_alpha(n: int) -> float:
    """Return the smallest alpha of three digits that n records can certify."""
    exact = 1 / (n + 1)
    digits = 2 - math.floor(math.log10(exact))
    scale = 10.0**digits
    return math.ceil(exact * scale) / scale


# upper edges of the severities that are counted together: in batch, in the service and its metrics
SEVERITIES = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)


def severity(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) p-values -> (N,) severities, -log10 p: 2 is one normal record in 100, 3 in 1,000."""
    return -np.log10(p_values)


def count_severities(severities: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) severities -> (len(SEVERITIES) + 1,) counts in each range; the last one is open."""
    at = np.searchsorted(SEVERITIES, severities, side="left")
    return np.bincount(at, minlength=len(SEVERITIES) + 1)
