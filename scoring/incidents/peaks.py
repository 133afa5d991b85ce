"""the peaks of normal incidents of windows -> how often chance makes an incident peak so high.

Windows that overlap alarm together, so that neither their number nor each p-value is evidence by
itself. What is exchangeable is a span of time with its incidents. Of K incidents among the windows
that calibrate, m reach a score: then m + 1 do so in another span as long, on average, whatever the
law of the scores. Alarms begin at a threshold that is chosen so that there are K here; K are then
to be expected there, too. So a share of (m + 1) / K of normal incidents peaks that high.

Beyond the highest one the tail is extrapolated. The parts of a score are logarithms of distances:
where these have a tail of any power, the excess of a peak over the threshold is exponential (Hill,
1975), and where it is lighter, less than that. An exponential excess is at least e with
probability (1 + e / sum)^-K, where sum is that of K earlier ones. Here, too, the threshold costs
one of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property

from vaewatch.scoring.budget.calibration import slack


@dataclass(frozen=True)
class Peaks:
    """The normal incidents that a calibration has counted.

    Attributes:
        scores: the highest score of each, ascending.
        threshold: the score in nats beyond which a record alarms.
        gap: the merge gap that made them.
    """

    scores: tuple[float, ...]
    threshold: float
    gap: int

    def above(self, threshold: float) -> Peaks:
        """Return those that alarm at a higher threshold, too. At a lower one there are others: but
        more of them, so that those here bound the share from above.
        """
        if threshold <= self.threshold:
            return self
        kept = self.scores[bisect_right(self.scores, threshold) :]
        return Peaks(kept, threshold, self.gap)

    def joined(self, duration: int, gap: int) -> int:
        """Return how many of these an incident may have joined that took so long, from its first
        alarm to its last, by a merge gap that may be longer than theirs. Any may hold its peak.
        """
        return 1 + duration // self.gap if gap > self.gap else 1

    @cached_property
    def _excess(self) -> float:
        return sum(score - self.threshold for score in self.scores)

    def chance(self, score: float) -> float:
        """Return the share of normal incidents that peak at a score or higher."""
        scores, n = self.scores, len(self.scores)
        if not n:
            return 1.0
        tied = score - float(slack(score))  # as high as one that is equal but for rounding
        reached = min(1.0, (n - bisect_left(scores, tied) + 1) / n)
        if tied <= scores[-1] or self._excess <= 0:
            return reached
        tail: float = (1 + (tied - self.threshold) / self._excess) ** (1 - n)
        return min(reached, tail)
