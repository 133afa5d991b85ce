"""The law of the number of alarms among N new normal records: what chance brings.

k of n + 1 exchangeable records may alarm (`vaewatch.scoring.budget.calibration`). The number of
alarms among N new ones is not binomial, because the calibration sample is finite, too: it is
beta-binomial with N trials and the parameters k and n + 1 - k.

It is computed through the hypergeometric law, of which few terms are needed whatever N is: at most
x new records reach the calibration record of rank k if, of the x + k highest of all n + N scores,
at least k are calibration scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SPREADS = 40.0  # standard deviations beyond which no term changes a sum


@dataclass(frozen=True)
class Chance:
    """The number of alarms among `records` new normal ones: BetaBinomial(records, k, n + 1 - k).

    k: the rank of the threshold among n calibration scores; with 0 nothing ever alarms.
    """

    records: int
    k: int
    n: int

    @property
    def mean(self) -> float:
        return self.records * self.k / (self.n + 1)

    @property
    def variance(self) -> float:
        rate = self.k / (self.n + 1)
        return self.mean * (1 - rate) * (self.n + 1 + self.records) / (self.n + 2)

    def at_most(self, alarms: int) -> float:
        """Return the probability of no more than so many alarms."""
        if self.k == 0 or alarms >= self.records:
            return 1.0
        return 0.0 if alarms < 0 else self._calibration_scores(alarms, at_least_k=True)

    def at_least(self, alarms: int) -> float:
        """Return the probability of so many alarms or more, exact to the last digits even where
        it is tiny.
        """
        if alarms <= 0:
            return 1.0
        if self.k == 0 or alarms > self.records:
            return 0.0
        return self._calibration_scores(alarms - 1, at_least_k=False)

    def quantile(self, share: float) -> int:
        """Return the smallest number of alarms that is not exceeded with this probability."""
        low, high = 0, self.records
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.at_most(middle) >= share else (middle + 1, high)
        return low

    def _calibration_scores(self, alarms: int, *, at_least_k: bool) -> float:
        """Return the probability of at least k, or of fewer, calibration scores among the
        highest `alarms` + k of all.
        """
        all_, highest = self.n + self.records, alarms + self.k
        low, high = max(0, highest - self.records), min(self.n, highest)
        mean = highest * self.n / all_
        spread = math.sqrt(mean * (1 - self.n / all_) * (1 - highest / all_) + 1)
        low = max(low, math.floor(min(mean, self.k) - SPREADS * spread))
        high = min(high, math.ceil(max(mean, self.k) + SPREADS * spread))
        j = np.arange(low, high, dtype=np.float64)
        ratios = np.log((self.n - j) * (highest - j))
        ratios -= np.log((j + 1) * (self.records - highest + j + 1))
        terms = np.concatenate([[0.0], np.cumsum(ratios)])  # of low, ..., high, on a log scale
        terms -= terms.max()
        weights = np.exp(terms)
        first = min(max(self.k - low, 0), len(weights))
        tail = weights[first:] if at_least_k else weights[:first]
        return float(tail.sum() / weights.sum())
