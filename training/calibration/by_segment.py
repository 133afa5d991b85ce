"""records, verdicts -> the false alarms of each segment, beside what its calibration allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.segments import OWN, POOLED, Segments
from vaewatch.training.calibration.chance import DOUBT, budget_p_value


@dataclass(frozen=True)
class SegmentBudget:
    """The normals of one segment and their alarms.

    expected_false_alarms: where the pooled calibration judged, an upper bound, by the calibration
    records of all such segments.
    bound: whether that is an upper bound only.
    segment: None for records without one. calibration: the one that judged them, own or pooled.
    rate_interval, budget_p_value: as those of the whole evaluation, by the segment's own
    calibration; None where the pooled one judged, which promises nothing to a single segment.
    """

    segment: str | None
    calibration: str
    calibration_records: int
    normals: int
    false_alarms: int
    expected_false_alarms: float
    rate_interval: tuple[float, float] | None
    budget_p_value: float | None
    bound: bool = False

    @property
    def holds(self) -> bool | None:
        """False if the count contradicts the segment's own calibration; None without one."""
        return None if self.budget_p_value is None else self.budget_p_value >= DOUBT


def budgets_by_segment(
    segments: Segments, codes: NDArray[np.int32], alarms: NDArray[np.bool_], alpha: float
) -> tuple[SegmentBudget, ...]:
    """Return the budget of each segment of (N,) normals, that with most of them first."""
    total, false = segments.count(codes), segments.count(codes[alarms])
    slots = segments.slots(np.arange(len(total), dtype=np.int32), alpha).tolist()
    laws, found = segments.laws(alpha), []
    for code in np.flatnonzero(total).tolist():
        calibration, own = segments.calibrations[slots[code]], slots[code] > 0
        law, normals, count = calibration.rate_law(alpha), int(total[code]), int(false[code])
        found.append(
            SegmentBudget(
                segment=segments.labels[code],
                calibration=OWN if own else POOLED,
                calibration_records=calibration.n,
                normals=normals,
                false_alarms=count,
                expected_false_alarms=normals * laws[slots[code]].mean,
                rate_interval=law.interval() if own else None,
                budget_p_value=budget_p_value(count, normals, law) if own else None,
                bound=not own or law.bounded,
            )
        )
    return tuple(sorted(found, key=lambda each: -each.normals))


def least_p_value(budgets: Sequence[SegmentBudget]) -> float | None:
    """Return the p-value of all segments with a calibration of their own together, by Bonferroni's
    bound; None if there is none.
    """
    given = [each.budget_p_value for each in budgets if each.budget_p_value is not None]
    return min(1.0, len(given) * min(given)) if given else None
