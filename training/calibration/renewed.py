"""new normal records -> a new calibration of an artifact, and what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Golden
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.budget.own import calibrate_segments, describe_segments
from vaewatch.scoring.budget.segments import OWN, POOLED, Segments, kinds_of, p_values
from vaewatch.scoring.budget.summary import SegmentSummary
from vaewatch.scoring.disk.recalibrated import Renewal
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate, fit_drift
from vaewatch.training.calibration.detection import Comparison, Detection
from vaewatch.training.calibration.rehearsal import rehearse_recent
from vaewatch.training.calibration.side import Codes
from vaewatch.training.calibration.worth import calibrate_entities
from vaewatch.training.export.golden import GOLDEN_RECORDS, make_golden


@dataclass(frozen=True)
class SegmentChange:
    """One segment's calibration before and after, own or pooled, and the rates at which its new
    normals alarm by both.

    segment: None for records without one. records: its new normals. n_before: the size of its own
    calibration before; None if that was the pooled one.
    """

    segment: str | None
    records: int
    n_before: int | None
    before: str
    after: str
    rate_before: float
    rate_after: float

    @property
    def lost(self) -> bool:
        """Whether it had a calibration of its own, and has none any more."""
        return (self.before, self.after) == (OWN, POOLED)


@dataclass(frozen=True)
class Renewed:
    """A new calibration, and the (N,) scores that made it.

    left_out: records that the network was fitted to, so that they do not calibrate.
    codes: (N,) of the records' segments; None without segments.
    rows: (N,) which of the records that were given; None with a window.
    """

    scores: NDArray[np.float64]
    comparison: Comparison
    detection: Detection
    renewal: Renewal
    left_out: int
    codes: Codes | None = None
    changes: tuple[SegmentChange, ...] = ()
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class New:
    """New normal records, their (N,) scores, and what is calibrated by them."""

    table: Table
    scores: NDArray[np.float64]
    calibration: Calibration
    segments: Segments | None

    @classmethod
    def of(
        cls,
        old: Scorer,
        table: Table,
        scores: NDArray[np.float64],
        alpha: float,
        entities: Sequence[str] | None = None,
    ) -> New:
        """Calibrate all records together, and each segment where the old artifact has some.

        entities: of each record, where they are worth what whole entities are.
        """
        segments = None
        if entities is None:
            calibration = calibrate(scores, alpha, SPLIT)
        else:
            calibration = calibrate_entities(scores, entities, alpha)
        if old.artifact.segments is not None:
            codes = old.artifact.segments.codes(table)
            segments = calibrate_segments(table.schema, codes, scores, calibration)
        return cls(table, scores, calibration, segments)

    def renewal(self, fingerprint: str) -> Renewal:
        """Return what changes by these records."""
        return Renewal(
            self.calibration,
            fit_drift(self.table),
            self.golden,
            fingerprint,
            self.segments,
            self.summaries,
            rehearse_recent(self.scores, self.table, self.calibration.alpha),
        )

    @property
    def summaries(self) -> tuple[SegmentSummary, ...]:
        if self.segments is None:
            return ()
        counts = self.segments.count(self.segments.codes(self.table))
        return describe_segments(self.segments, counts, counts)

    @property
    def golden(self) -> Golden:
        """The first records as golden ones."""
        few = self.table.take(np.arange(min(GOLDEN_RECORDS, len(self.table))))
        scores = self.scores[: len(few)]
        return make_golden(few, scores, p_values(scores, few, self.calibration, self.segments))


def changes_of(old: Segments | None, new: New) -> tuple[SegmentChange, ...]:
    """Return what changed for each segment that has new normals or had a calibration."""
    if old is None or new.segments is None:
        return ()
    codes, alpha = old.codes(new.table), new.calibration.alpha
    rows = old.count(codes)
    alarms = [each.count_alarms(new.scores, codes, alpha) for each in (old, new.segments)]
    every = np.arange(len(rows), dtype=np.int32)
    kinds = [kinds_of(each.slots(every, alpha)) for each in (old, new.segments)]
    return tuple(
        SegmentChange(
            segment=old.labels[code],
            records=int(rows[code]),
            n_before=old.own[code].n if code in old.own else None,
            before=kinds[0][code],
            after=kinds[1][code],
            rate_before=float(alarms[0][code] / max(rows[code], 1)),
            rate_after=float(alarms[1][code] / max(rows[code], 1)),
        )
        for code in old.present(rows)
    )
