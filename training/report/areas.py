"""labels and scores -> the areas under the ROC and the precision-recall curve.

scikit-learn has the same numbers, after more than a second of imports.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Areas(NamedTuple):
    """The areas under both curves; auprc as the average precision, which interpolates nothing."""

    auroc: float
    auprc: float


def areas(anomaly: NDArray[np.bool_], score: NDArray[np.floating]) -> Areas | None:
    """Return the areas of N labels and scores; None where there are not both kinds of records.

    Scores that tie are one step of both curves, since no threshold lies between them.
    """
    if not anomaly.any() or anomaly.all():
        return None
    order = np.argsort(-score, kind="stable")
    falling = score[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of those that tie
    found = np.cumsum(anomaly[order])[last]
    false = last + 1 - found
    more, more_false = np.diff(found, prepend=0), np.diff(false, prepend=0)
    ordered = (more_false * (found - more / 2)).sum()  # pairs, of which a tie is half a one
    precise = (more * found / (last + 1)).sum()
    return Areas(float(ordered / (found[-1] * false[-1])), float(precise / found[-1]))
