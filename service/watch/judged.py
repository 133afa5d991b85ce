"""verdicts at any alpha -> alarms at the artifact's own, for metrics, incidents and the shadow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.watch.columns import Counts


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


@dataclass(frozen=True)
class Over:
    """The alarms of some records at the artifact's own alpha, whatever alpha a request asked for.

    mask: (N,) which records they are; p_value, severity: (N,). The rest where the artifact has a
    segment: slots: (N,) the place of each record's calibration; by_segment: (codes, 2) the
    records and alarms of each segment; codes: (N,) the segment of each record.
    """

    alarms: int
    mask: NDArray[np.bool_]
    p_value: NDArray[np.float64]
    severity: NDArray[np.float64]
    slots: NDArray[np.int64] | None = None
    by_segment: Counts | None = None
    codes: NDArray[np.int32] | None = None


def over_of(artifact: Artifact, table: Table, verdicts: Verdicts) -> Over:
    """Return the alarms of records that an artifact has judged, at whatever alpha.

    Where it has a segment they are ranked again: at the alpha of a request, another calibration
    may have judged them.
    """
    segments = artifact.segments
    if segments is None:
        mask = artifact.calibration.alarms(verdicts.p_value)
        return Over(int(mask.sum()), mask, verdicts.p_value, verdicts.severity)
    codes = segments.codes(table)
    ranked = segments.rank(verdicts.score, codes)
    mask = segments.pooled.alarms(ranked.p_value)
    by_segment = np.stack([segments.count(codes), segments.count(codes[mask])], axis=1)
    ranks = ranked.p_value, ranked.severity, ranked.slots
    return Over(int(mask.sum()), mask, *ranks, by_segment, codes)
