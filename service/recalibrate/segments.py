"""a change, old segments -> what becomes of the calibration of each segment.

The sample is uniform, so the records of one segment in it are a uniform sample of that segment.
Those with enough of them to certify alpha get a calibration of their own; the pooled one, of all
records, judges the rest. A segment that is attacked while the whole is not keeps its old
calibration, unless force is used: it then learns the attack as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, allowed_rank
from vaewatch.scoring.budget.segments import OWN, POOLED, Segments
from vaewatch.scoring.budget.summary import SegmentName
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.excess import beyond_chance
from vaewatch.service.recalibrate.refusals import Refused, refusals_of_segment
from vaewatch.service.recalibrate.sample import Drawn

NAMED = 5  # segments that a warning names
Judge = Literal["own", "pooled"]


class SegmentChange(Struct):
    """What a recalibration does to one segment."""

    segment: SegmentName
    n: Annotated[int, Meta(description="Records of the segment in the sample.")]
    before: Annotated[Judge, Meta(description="Which calibration judges it now.")]
    after: Annotated[Judge, Meta(description="Which one would judge it then.")]
    n_after: Annotated[int, Meta(description="Scores of that calibration.")]
    rate_before: Annotated[float, Meta(description="Share of the n records that alarms now.")]
    rate_after: Annotated[float, Meta(description="Share of them that would alarm then.")]
    threshold_before: Annotated[float, Meta(description="Score in nats from which they alarm.")]
    threshold_after: Annotated[float, Meta(description="The same, then.")]
    rate_interval_95: Annotated[
        list[float] | None,
        Meta(
            description="Range of the segment's true alarm rate at 95%, by its own calibration; "
            "null where the pooled one judges, which promises nothing for one segment."
        ),
    ]
    kept: Annotated[
        bool,
        Meta(
            description="Whether it is left out of the change, for the `refusals`: what judges it "
            "is its old calibration, or the pooled one if it had none that can be kept."
        ),
    ]
    refusals: Annotated[
        list[Refused],
        Meta(description="Why the segment is not followed by itself, unless force was asked for."),
    ]


@dataclass(frozen=True)
class Renewed:
    """The calibrations of segments before and after.

    refused: what speaks against learning some of the codes. forced: whether they are learned.
    shifted: the codes with more alarms than by chance that are followed without force.
    """

    old: Segments
    new: Segments
    drawn: Drawn
    alpha: float
    refused: Mapping[int, list[Refused]]
    forced: bool
    shifted: frozenset[int] = frozenset()

    @classmethod
    def of(cls, old: Segments, pooled: Change, *, force: bool) -> Renewed:
        """Calibrate each segment on its part of the sample."""
        drawn, alpha = pooled.drawn, pooled.new.alpha
        own: dict[int, Calibration] = {}
        refused, shifted = {}, set()
        for code in range(len(old.column.categories)):
            mine = drawn.of_segment(code)
            if allowed_rank(alpha, mine.records) < 1:
                continue
            before = old.own.get(code)
            earlier = pooled.before.of_segment(code)
            change = Change.of(before or old.pooled, mine, alpha, earlier)
            reasons = refusals_of_segment(change, known=before is not None)
            if reasons:
                refused[code] = reasons
            elif before is not None and beyond_chance(change):
                shifted.add(code)
            if not reasons or force:
                own[code] = change.new
            elif before is not None and _can_stay(before, alpha):
                own[code] = Calibration(before.scores, alpha, SPLIT)
        new = Segments(old.schema, own, pooled.new)
        return cls(old, new, drawn, pooled.alpha, refused, force, frozenset(shifted))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(codes,) records of each segment in the sample."""
        return self.old.count(self.drawn.codes)

    @cached_property
    def p_values(self) -> list[NDArray[np.float64]]:
        """The (n,) p-values of the sample, before and after."""
        scores, codes = self.drawn.scores, self.drawn.codes
        return [side.rank(scores, codes, self.alpha).p_value for side in (self.old, self.new)]

    @property
    def explains(self) -> bool:
        """Whether the segments that have shifted make the excess of all: without them no more
        records alarm than by chance.
        """
        rest = ~np.isin(self.drawn.codes, list(self.shifted))
        alarms = self.old.pooled.alarms(self.p_values[0][rest], self.alpha)
        expected = self.old.expected(self.old.count(self.drawn.codes[rest]), self.alpha)
        return bool(self.shifted) and int(alarms.sum()) <= expected.high

    def changes(self) -> list[SegmentChange]:
        """Describe what changes for each segment that has records or had a calibration."""
        scores, codes, counts = self.drawn.scores, self.drawn.codes, self.counts
        rates = [
            side.count_alarms(scores, codes, self.alpha) / np.maximum(counts, 1)
            for side in (self.old, self.new)
        ]
        return [
            self._change(code, *(float(rate[code]) for rate in rates))
            for code in self.old.present(counts)
        ]

    def _change(self, code: int, before: float, after: float) -> SegmentChange:
        was, now = self._judge(self.old, code), self._judge(self.new, code)
        law = self.new.calibrations[now].rate_law(self.alpha)
        return SegmentChange(
            segment=self.old.labels[code],
            n=int(self.counts[code]),
            before="own" if was else "pooled",
            after="own" if now else "pooled",
            n_after=self.new.calibrations[now].n,
            rate_before=before,
            rate_after=after,
            threshold_before=self._threshold(self.old.calibrations[was]),
            threshold_after=self._threshold(self.new.calibrations[now]),
            rate_interval_95=[*law.interval()] if now else None,
            kept=code in self.refused and not self.forced,
            refusals=self.refused.get(code, []),
        )

    def _judge(self, segments: Segments, code: int) -> int:
        """Return the slot of the calibration that judges a segment; 0 is the pooled one."""
        return int(segments.slots(np.array([code], np.int32), self.alpha)[0])

    def _threshold(self, calibration: Calibration) -> float:
        threshold = calibration.threshold(self.alpha)
        assert threshold is not None  # one that cannot certify alpha judges nothing
        return threshold

    def warnings(self) -> Iterator[str]:
        """Say which segments lose a calibration of their own, and which are not followed."""
        found = self.changes()
        lost = [one for one in found if (one.before, one.after) == (OWN, POOLED) and not one.kept]
        kept = [one for one in found if one.kept]
        if lost:
            yield (
                f"Too few records came of {_names(lost)} to certify alpha {self.alpha:g}: the "
                "pooled calibration would judge them, and promises nothing for one segment."
            )
        if kept:
            yield (
                f"Not followed by themselves: {_names(kept)}. Each has its reason; force, asked "
                "for with the proposal, learns them as well."
            )


def _can_stay(before: Calibration, alpha: float) -> bool:
    """Whether an old calibration can stand beside new ones: its interval must be exact, too."""
    return before.rule == SPLIT and allowed_rank(alpha, before.n) >= 1


def _names(changes: list[SegmentChange]) -> str:
    names = [
        "records without a segment" if one.segment is None else f"'{one.segment}'"
        for one in changes[:NAMED]
    ]
    more = len(changes) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
