"""the scores that a proposal calibrates on <-> bytes that every worker can read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.series.window import SeriesSummary
from vaewatch.service.recalibrate.change import Change


class Calibrating(msgspec.Struct, array_like=True, frozen=True):
    """Sorted float64 scores, as bytes: all of them, and by code those of the segments that get a
    calibration of their own.

    counts: records of each code in the sample; empty where the artifact has no segment.
    blocks, incidents_per_day, score_blocks: what the scores are worth where the artifact has a
        window.
    peaks: float64, as bytes, the highest score of each normal incident; None where the sample
        lacks some of the records, or the artifact has no window.
    """

    scores: bytes
    own: dict[int, bytes]
    counts: list[int]
    blocks: int = 0
    incidents_per_day: dict[str, float] = {}
    peaks: bytes | None = None
    score_blocks: int | None = None

    @classmethod
    def of(
        cls, pooled: Calibration, segments: Segments | None = None, counts: Sequence[int] = ()
    ) -> Calibrating:
        own = {} if segments is None else segments.own
        each = {code: calibration.scores.tobytes() for code, calibration in own.items()}
        return cls(pooled.scores.tobytes(), each, list(counts))

    @classmethod
    def of_windows(cls, change: Change) -> Calibrating:
        assert change.neighbours is not None
        counting, drawn = change.neighbours.counting(change.new), change.drawn
        whole = len(drawn.scores) >= drawn.records  # of a part of the records, peaks are lower
        return cls(
            change.new.scores.tobytes(),
            own={},
            counts=[],
            blocks=change.blocks,
            incidents_per_day=counting.by_alpha(),
            peaks=counting.peaks().tobytes() if whole else None,
            score_blocks=min(change.blocks, change.neighbours.score_blocks()),
        )

    def series(self, old: SeriesSummary) -> SeriesSummary:
        """Return what the new budget of windows means."""
        return msgspec.structs.replace(
            old,
            blocks=self.blocks,
            incidents_per_day=self.incidents_per_day,
            score_blocks=self.score_blocks,
        )

    def incident_peaks(self) -> NDArray[np.float64] | None:
        return None if self.peaks is None else np.frombuffer(self.peaks, np.float64)

    def pooled(self, alpha: float) -> Calibration:
        """Return the calibration of all of them."""
        return _calibration(self.scores, alpha)

    def segments(self, schema: Schema, pooled: Calibration) -> Segments:
        """Return the calibrations of the segments, beside the pooled one."""
        own = {code: _calibration(scores, pooled.alpha) for code, scores in self.own.items()}
        return Segments(schema, own, pooled)

    def each(self) -> NDArray[np.int64]:
        """Return the records of each code, (codes,)."""
        return np.array(self.counts, np.int64)


def _calibration(scores: bytes, alpha: float) -> Calibration:
    return Calibration(np.frombuffer(scores, np.float64), alpha, SPLIT)
