"""Records that were counted, as incidents take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts


@dataclass(frozen=True)
class Judged:
    """Records that an artifact has judged.

    alarms: (N,) whether each alarms at the artifact's own alpha; p_value, severity: (N,) of the
    calibration that this goes by. ids: of some of those that alarm, by row.
    """

    artifact: Artifact
    table: Table
    verdicts: Verdicts
    alarms: NDArray[np.bool_]
    p_value: NDArray[np.float64]
    severity: NDArray[np.float64]
    ids: Mapping[int, str]
