"""old calibration, sample of served scores -> the calibration that would follow them.

The records that alarm are part of the sample. Without them the new calibration would be that of
the quiet ones alone, and normal records would alarm at up to alpha more than before. With them
alpha bounds the alarms of all records together, and so those of the normal ones: anomalies among
the records can only make the budget of normal records smaller than asked, never larger, as long as
they score at least as high as normal ones do. The price is that the threshold rises, see
`vaewatch.service.recalibrate.refusals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.service.recalibrate.sample import NOTHING, Drawn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """An old and a new calibration at one alpha, and the sample that made the new one.

    alpha: that of the new calibration, or the least that both can certify.
    before: a sample of the traffic before, if any is kept.
    """

    old: Calibration
    new: Calibration
    drawn: Drawn
    before: Drawn = NOTHING

    @classmethod
    def of(cls, old: Calibration, drawn: Drawn, alpha: float, before: Drawn = NOTHING) -> Change:
        """Calibrate on a sample.

        Raises:
            SettingError: no number of records could certify alpha.
            CalibrationError: more records could.
        """
        return cls(old, Calibration(np.sort(drawn.scores), alpha, SPLIT), drawn, before)

    @property
    def alpha(self) -> float:
        return max(self.new.alpha, 1 / (self.old.n + 1))

    @cached_property
    def p_values(self) -> Floats:
        """(n,) p-values of the sample by the old calibration."""
        return self.old.p_values(self.drawn.scores)

    @cached_property
    def own_p_values(self) -> Floats:
        """(n_old,) p-values of the old calibration's scores by itself: with ties, not uniform."""
        return self.old.p_values(self.old.scores)

    def alarms(self, by: Calibration) -> NDArray[np.bool_]:
        """(n,) which records of the sample alarm by one of the two."""
        return by.alarms(by.p_values(self.drawn.scores), self.alpha)

    def threshold(self, by: Calibration) -> float:
        """Return the score in nats from which records alarm by one of the two."""
        threshold = by.threshold(self.alpha)
        assert threshold is not None  # alpha is one that both can certify
        return threshold

    @property
    def room(self) -> float:
        """How many alarms of the sample may be others than normal records until these alarm more
        seldom than the interval of the new calibration says.
        """
        return self.new.n * (self.new.alpha - self.new.rate_law().interval()[0])

    @property
    def factor(self) -> float:
        """How many times as far the new threshold lies from the old median score as the old one
        does. Neither the unit nor the origin of the scores matters to it.
        """
        middle = float(np.median(self.old.scores))
        far = self.threshold(self.old) - middle
        return (self.threshold(self.new) - middle) / far if far > 0 else float("inf")
