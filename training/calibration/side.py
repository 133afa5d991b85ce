"""A pooled calibration and those of segments -> which records alarm, and whether by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.chances import Chances
from vaewatch.scoring.budget.segments import Segments

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Side:
    """The calibrations of an artifact, as they were or as they would be."""

    pooled: Calibration
    segments: Segments | None = None

    def alarms(
        self, scores: NDArray[np.float64], codes: Codes | None, alpha: float
    ) -> NDArray[np.bool_]:
        """Return which of (N,) records alarm. codes: (N,) of their segments, if there are any."""
        if self.segments is None or codes is None:
            return self.pooled.alarms(self.pooled.p_values(scores), alpha)
        return self.pooled.alarms(self.segments.rank(scores, codes, alpha).p_value, alpha)

    def chance(self, alarms: NDArray[np.bool_], codes: Codes | None, alpha: float) -> float:
        """Return the probability of at least so many alarms of exchangeable records."""
        count = int(alarms.sum())
        if self.segments is None or codes is None:
            law = self.pooled.rate_law(alpha)
            return Chance(len(alarms), law.high, law.n).at_least(count)
        laws = self.segments.laws(alpha)
        records = np.bincount(self.segments.slots(codes, alpha), minlength=len(laws)).tolist()
        parts = [Chance(n, law.high, law.n) for law, n in zip(laws, records, strict=True) if n]
        return (parts[0] if len(parts) == 1 else Chances(tuple(parts))).at_least(count)

    def threshold(self, alpha: float, code: int | None = None) -> float:
        """Return the score in nats from which records alarm, those of a segment if it is given;
        infinite if none does.
        """
        calibration = self.pooled
        if self.segments is not None and code is not None:
            slot = self.segments.slots(np.array([code], np.int32), alpha)[0]
            calibration = self.segments.calibrations[slot]
        threshold = calibration.threshold(alpha)
        return math.inf if threshold is None else threshold

    def p_value(self, score: float, alpha: float, code: int | None = None) -> float:
        """Return the p-value of one score, as a record of a segment if it is given."""
        scores = np.array([score])
        if self.segments is None or code is None:
            return float(self.pooled.p_values(scores)[0])
        return float(self.segments.rank(scores, np.array([code], np.int32), alpha).p_value[0])
