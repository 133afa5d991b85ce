"""What a budget of windows is worth, as far as it takes a law that only training knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.series.entity import numbered

SIDE = 0.975  # of an interval at 95%


def incidents_interval(count: int, days: float) -> tuple[float, float]:
    """Return the 95% interval of the incidents a day, of so many among so many days (Garwood,
    1936). Incidents are apart by definition, so that they are taken to be a Poisson process.
    """
    from scipy.special import gammaincinv

    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return low / days, float(gammaincinv(count + 1, SIDE)) / days


def entity_blocks(
    calibration: Calibration, scores: NDArray[np.float64], entities: Sequence[str]
) -> int:
    """Return how many independent records (n,) windows are worth for an entity that is not among
    their E: n over the design effect of entities as clusters, by the spread of their alarms
    (Liang & Zeger, 1986). A spread of few is itself uncertain: an interval that knew it would be
    as wide as Student's with E - 1 degrees of freedom makes it (Cameron & Miller, 2015).
    """
    from scipy.special import ndtri, stdtrit

    alarms = calibration.alarms(calibration.p_values(scores))
    place = numbered(entities)
    sizes, rate = np.bincount(place), float(alarms.mean())
    if len(sizes) < 2:
        return 1
    excess = np.bincount(place, alarms) - rate * sizes
    spread = float(excess @ excess) * len(sizes) / (len(sizes) - 1)
    worth = len(scores) if spread == 0 else rate * (1 - rate) * len(scores) ** 2 / spread
    wider = float(stdtrit(len(sizes) - 1, SIDE) / ndtri(SIDE)) ** 2
    return max(1, int(worth / wider))
