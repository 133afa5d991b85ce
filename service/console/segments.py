"""window -> the recent alarms of each segment, beside what its calibration allows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.expected import CONFIDENCE, Expected
from vaewatch.scoring.budget.segments import OWN, POOLED, Segments
from vaewatch.service.watch.window import Totals


class SegmentState(msgspec.Struct):
    """The recent records of one segment, and their alarms at the artifact's alpha.

    segment: None for records without one.
    calibration: the one that judges it, own or pooled.
    expected: the alarms to expect; where the pooled one judges, an upper bound, by the calibration
        records of all such segments together.
    low, high: the alarms that chance allows; None where the pooled one judges, which promises
        nothing to a single segment.
    bound: whether `expected` is an upper bound only.
    state: 'below', 'within' or 'above'; None where nothing is promised.
    """

    segment: str | None
    calibration: str
    records: int
    alarms: int
    expected: float | None = None
    low: int | None = None
    high: int | None = None
    state: str | None = None
    bound: bool = False


def segments_of(segments: Segments | None, window: Totals) -> list[SegmentState]:
    """Describe each segment that has recent records, that with most of them first."""
    if segments is None or not window.segments:
        return []
    slots = segments.slots(np.arange(len(window.segments), dtype=np.int32)).tolist()
    # with many segments, chance makes one of them loud
    tail = (1 - CONFIDENCE) / 2 / max(len(segments.own), 1)
    found, laws = [], segments.laws()
    for code, (records, alarms) in enumerate(window.segments):
        if not records:
            continue
        name, slot = segments.labels[code], slots[code]
        law = laws[slot]
        if not slot:
            most = records * law.mean
            found.append(SegmentState(name, POOLED, records, alarms, most, bound=True))
            continue
        low = Chance(records, law.low, law.n).quantile(tail)
        high = Chance(records, law.high, law.n).quantile(1 - tail)
        state = "below" if alarms < low else "above" if alarms > high else "within"
        expected = records * law.mean
        bound = law.bounded
        found.append(SegmentState(name, OWN, records, alarms, expected, low, high, state, bound))
    return sorted(found, key=lambda each: -each.records)


def expected_of(segments: Segments | None, window: Totals) -> Expected | None:
    """Return the alarms that the calibrations let expect of all; None without segments."""
    if segments is None or not window.segments:
        return None
    return segments.expected(np.array(window.segments, np.int64)[:, 0])


def loud(segments: Sequence[SegmentState]) -> list[str]:
    """Return the names of the segments that have more alarms than chance allows."""
    return [each.segment or "(missing)" for each in segments if each.state == "above"]
