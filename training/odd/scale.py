"""a view of what is odd -> what a score is at least.

A score is a sum, so that what varies most in it hides what seldom moves. A view sees one thing
alone. So it counts only where few normal records are as odd as that, and the score is the larger
of the two: between these quantiles its worth rises to that of a score that hardly a normal record
has, and beyond them slower and slower. What the view takes of the alarm budget is the share of
normal records beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

USUAL, ODD = 0.995, 0.999
ALARMING = 0.99  # the quantile of the score without the view that an odd record is worth
LEAST_SPREAD, LEAST_HEIGHT = 0.05, 1.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OddScale:
    """What is worth nothing: all up to `middle`. `height` at `middle + spread`."""

    middle: float
    spread: float
    height: float

    @classmethod
    def of(cls, view: Floats, others: Floats, least_spread: float = LEAST_SPREAD) -> OddScale:
        """Return the scale of what a view sees of normal records, (N,), beside the scores that
        they have without it, (N,).

        least_spread: what is nothing in the view.
        """
        usual, odd = np.quantile(view, [USUAL, ODD])
        height = max(float(np.quantile(others, ALARMING)), LEAST_HEIGHT)
        return cls(float(usual), max(float(odd - usual), least_spread), height)

    def apply(self, view: Floats) -> Floats:
        """(N,) -> (N,), what a score is at least."""
        above = np.maximum((view - self.middle) / self.spread, 0.0)
        return np.asarray(self.height * np.log2(1.0 + above))
