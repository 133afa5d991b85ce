"""Judged: the scores of records that the network was not fitted to -> calibrations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.budget.own import calibrate_segments
from vaewatch.scoring.budget.segments import Segments, segment_column
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.split.split import Split


@dataclass(frozen=True)
class Judged:
    """Rows of a table, (M,), and their scores in nats, (M,)."""

    table: Table
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    def calibration(self, alpha: float, split: Split) -> Calibration:
        """Make the pooled calibration, of the uniform sample that was held out, or of all."""
        return calibrate(self.pooled(split).scores, alpha, split.rule)

    def pooled(self, split: Split) -> Judged:
        """Return the rows of the uniform sample that was held out, or all."""
        if split.rule != SPLIT or not len(split.own):
            return self
        uniform = np.isin(self.rows, split.held_out)
        return Judged(self.table, self.rows[uniform], self.scores[uniform])

    def segments(self, split: Split, pooled: Calibration) -> Segments | None:
        """Make the calibrations of segments; None if the schema has no segment."""
        schema = self.table.schema
        if (column := segment_column(schema)) is None:
            return None
        codes = self.table.codes[self.rows, schema.place[column.name]]
        scores = self.scores
        if split.rule == SPLIT:
            own = np.isin(self.rows, split.own)
            codes, scores = codes[own], scores[own]
        return calibrate_segments(schema, codes, scores, pooled)
