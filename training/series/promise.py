"""scores of neighbouring windows -> what a budget of them is worth.

The windows of one entity overlap, so that their scores are no independent draws. The interval of
the false-alarm rate is that of as many records as there are independent blocks. And since people
look at incidents, not at records, these are counted, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, check_alpha
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.incidents import incident_starts, per_day
from vaewatch.scoring.series.window import Window

Scores = NDArray[np.float64]
FINEST, COARSEST = 1e-5, 0.5  # of the alphas that are tried
TRIED = 60


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


def incidents_per_day(
    calibration: Calibration,
    scores: Scores,
    entities: Sequence[str] | None,
    moments: NDArray[np.int64],
    window: Window,
    alpha: float,
) -> float:
    """Return the false incidents per entity and day of (n,) judged records at alpha."""
    alarms = calibration.alarms(calibration.p_values(scores), alpha)
    at = np.flatnonzero(alarms)
    own = None if entities is None else [entities[i] for i in at.tolist()]
    starts = incident_starts(own, moments[at], window)
    return per_day(int(starts.sum()), len(scores), window)


def alpha_for(
    wanted: float,
    calibration: Calibration,
    scores: Scores,
    entities: Sequence[str] | None,
    moments: NDArray[np.int64],
    window: Window,
) -> float:
    """Return the largest alpha with at most so many false incidents per entity and day.

    Raises:
        CalibrationError: the records are too few to certify so small an alpha.
    """
    alphas = np.geomspace(COARSEST, FINEST, TRIED)
    for alpha in alphas.tolist():
        rounded = float(f"{alpha:.2g}")
        got = incidents_per_day(calibration, scores, entities, moments, window, rounded)
        if got <= wanted:
            check_alpha(rounded, calibration.n)
            return rounded
    raise CalibrationError(
        f"--incidents-per-day {wanted:g} takes an alpha below {FINEST:g}, which this data cannot "
        "certify. Ask for more incidents, or give more records."
    )
