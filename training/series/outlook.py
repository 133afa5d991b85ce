"""judged windows -> Outlook: what a calibration of the past makes of the windows after it.

As for single records (`vaewatch.training.calibration.rehearsal`), with what chance allows by
blocks of neighbours, since these alarm together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.calibration.rehearsal import play
from vaewatch.training.series.judged import JudgedWindows


def outlook_of_windows(judged: JudgedWindows, later: NDArray[np.bool_]) -> Outlook | None:
    """Play the later ones of (J,) windows through: each block of time is compared with all before
    it.

    Returns:
        None if the time before has too few windows to certify alpha.
    """
    if later.all() or not later.any():
        return None
    alpha = judged.calibration.alpha
    if allowed_rank(alpha, int((~later).sum())) < 1:
        return None
    past = judged.only(~later)
    length = len(past.scores) / past.blocks
    return play(past.scores, judged.scores[later], judged.moments[later], alpha, None, length)


def later_half(judged: JudgedWindows) -> NDArray[np.bool_]:
    """(J,) -> (J,): which windows are of the later half of the time."""
    return np.asarray(judged.moments > np.median(judged.moments))
