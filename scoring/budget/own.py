"""scores of normal records, segments -> Segments: a calibration for each with enough records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, allowed_rank
from vaewatch.scoring.budget.segments import OWN, POOLED, Segments
from vaewatch.scoring.budget.summary import SegmentSummary
from vaewatch.scoring.schema import Schema

Counts = NDArray[np.int64]


def calibrate_segments(
    schema: Schema,
    codes: NDArray[np.int32],
    scores: NDArray[np.float64],
    pooled: Calibration,
) -> Segments:
    """Make Segments of (M,) scores of records that the network was not fitted to, and the codes of
    their segments, (M,).
    """
    segments = Segments(schema, {}, pooled)
    own = {}
    for code in range(len(segments.column.categories)):
        mine = scores[codes == code]
        if allowed_rank(pooled.alpha, len(mine)) >= 1:
            own[code] = Calibration(np.sort(mine), pooled.alpha, pooled.rule)
    return Segments(schema, own, pooled)


def describe_segments(
    segments: Segments, records: Counts, calibrating: Counts
) -> tuple[SegmentSummary, ...]:
    """Return the summary of each segment that has records, that with most of them first.

    Args:
        records: (codes,) records of each segment that were read.
        calibrating: (codes,) those of them that calibrate, the segment or all together.
    """
    order = sorted(np.flatnonzero(records).tolist(), key=lambda code: -int(records[code]))
    return tuple(_summary(segments, c, int(records[c]), int(calibrating[c])) for c in order)


def _summary(segments: Segments, code: int, records: int, n: int) -> SegmentSummary:
    own = segments.own.get(code)
    calibration = own or segments.pooled
    threshold = calibration.threshold(calibration.alpha)
    assert threshold is not None  # both certify alpha
    return SegmentSummary(
        segment=segments.labels[code],
        records=records,
        n=own.n if own else n,
        calibration=OWN if own else POOLED,
        rate_interval_95=own.rate_law().interval() if own else None,
        threshold=threshold,
    )
