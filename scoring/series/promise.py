"""scores of neighbouring windows -> what a budget of them is worth.

The windows of one entity overlap, so that their scores are no independent draws. The interval of
the false-alarm rate is that of as many records as there are independent blocks. And since people
look at incidents, not at records, these are counted, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, least_alpha
from vaewatch.scoring.budget.described import shown_alphas
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.incidents import entity_days, incident_peaks, incident_starts, per_day
from vaewatch.scoring.series.window import Window

Scores = NDArray[np.float64]
COARSEST = 0.5  # of the alphas that are tried
TRIED = 150
LEAST_WANTED = 2  # incidents among the judged windows: one is met, and one more is expected


def independent_blocks(scores: Scores, stretches: NDArray[np.int64]) -> int:
    """Return how many independent scores (n,) neighbours are worth: n over their integrated
    autocorrelation time, by Sokal's window (Sokal, 1997), taken of their ranks.

    Args:
        scores: or which of them alarm, as 1 and 0: a rate needs no more of them to be independent.
        stretches: (n,) which scores follow one another without a break.
    """
    n = len(scores)
    if n < 3:
        return n
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2)[place] / n  # equal scores share the mean of theirs
    ranks -= ranks.mean()
    variance, tau = float(ranks @ ranks) / n, 1.0
    if variance == 0:
        return n
    for lag in range(1, n // 2):
        together = stretches[lag:] == stretches[:-lag]
        if not together.any():
            break
        products = ranks[lag:][together] * ranks[:-lag][together]
        tau += 2.0 * max(float(products.mean()) / variance, 0.0)
        if lag >= 5 * tau:
            break
    return max(1, int(n / tau))


def alarm_blocks(
    calibration: Calibration, scores: Scores, stretches: NDArray[np.int64], size: int
) -> int:
    """Return how many independent records (n,) windows of `size` are worth, as far as alarms go:
    windows that share records are never independent, others are where their alarms do not come
    together.
    """
    alarms = calibration.alarms(calibration.p_values(scores))
    apart = max(1, len(scores) // size)
    return min(independent_blocks(alarms.astype(np.float64), stretches), apart)


@dataclass(frozen=True)
class Counting:
    """J judged windows among which incidents are counted.

    Attributes:
        scores: (J,). moments: (J,) of the records that they judge. entities: of each; None where
            there is one series.
    """

    calibration: Calibration
    scores: Scores
    entities: Sequence[str] | None
    moments: NDArray[np.int64]
    window: Window

    @cached_property
    def p_values(self) -> Scores:
        return self.calibration.p_values(self.scores)

    @property
    def days(self) -> float:
        """The days of entities that the windows are worth at their usual step."""
        return entity_days(len(self.scores), self.window)

    def peaks(self) -> Scores:
        """Return the highest score of each false incident at the calibration's own alpha, (K,),
        ascending.
        """
        at = np.flatnonzero(self.calibration.alarms(self.p_values))
        entities, moments = self._place(at)
        return incident_peaks(entities, moments, self.scores[at], self.window)

    def count(self, alpha: float) -> int:
        """Return the false incidents at alpha."""
        at = np.flatnonzero(self.calibration.alarms(self.p_values, alpha))
        return int(incident_starts(*self._place(at), self.window).sum())

    def _place(self, at: NDArray[np.int64]) -> tuple[list[str] | None, NDArray[np.int64]]:
        """Return the entities and moments of some windows."""
        own = None if self.entities is None else [self.entities[i] for i in at.tolist()]
        return own, self.moments[at]

    def per_day(self, alpha: float) -> float:
        """Return the false incidents per entity and day at alpha."""
        return per_day(self.count(alpha), len(self.scores), self.window)

    def by_alpha(self) -> dict[str, float]:
        """Return the false incidents per entity and day at each alpha that is shown, as text."""
        return {f"{alpha:g}": self.per_day(alpha) for alpha in shown_alphas(self.calibration)}


def check_countable(wanted: float, records: int, window: Window) -> None:
    """Refuse so few incidents per entity and day that not one could be allowed among records.

    Raises:
        CalibrationError: they are so few.
    """
    days = entity_days(records, window)
    if wanted * days < LEAST_WANTED:
        raise CalibrationError(
            f"--incidents-per-day {wanted:g} takes {math.ceil(LEAST_WANTED / wanted):,} "
            f"entity-days of normal records, in which {LEAST_WANTED} false incidents would be "
            f"expected, got {days:,.3g}. Ask for more incidents, or give more records."
        )


def alpha_for(wanted: float, counting: Counting) -> float:
    """Return the largest alpha up to which no more than so many false incidents per entity and day
    are to be expected.

    As alpha grows from the least that can be certified, incidents are met one after another. Just
    before the incident k + 1 is met, k are counted, and k + 1 are the mean of what is to be
    expected among as many days: so k + 1, not k, must be no more than wanted. The same one more
    stands in a p-value.

    Raises:
        CalibrationError: the records are of too short a time for it.
    """
    check_countable(wanted, len(counting.scores), counting.window)
    allowed, chosen = wanted * counting.days, None
    least = least_alpha(counting.calibration.n)
    tried = np.geomspace(least, COARSEST, TRIED).tolist()
    for alpha in sorted({max(least, float(f"{alpha:.2g}")) for alpha in tried}):
        if counting.count(alpha) + 1 > allowed:
            break
        chosen = alpha
    if chosen is None:
        raise CalibrationError(
            f"--incidents-per-day {wanted:g} takes an alpha below {least:g}, which this data "
            "cannot certify. Ask for more incidents, or give more records."
        )
    return chosen
