"""sample of a model with a window -> how alike neighbouring records are.

Neighbouring windows share records, so that their scores are alike and their alarms come together.
Whatever asks if chance explains so many of them counts independent blocks in place of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.series.promise import Counting, alarm_blocks, independent_blocks
from vaewatch.scoring.series.window import Window
from vaewatch.service.recalibrate.sample import Drawn


@dataclass(frozen=True)
class Alike:
    """How many neighbouring records are worth one independent record.

    alarms: as far as alarms of normal records go, by the old calibration: an incident makes those
        of the sample come together, and must not excuse itself by that.
    scores: as far as the scores go of records that do not alarm.
    """

    alarms: float = 1.0
    scores: float = 1.0


ALONE = Alike()


@dataclass(frozen=True)
class Neighbours:
    """(n,) records of a sample, an entity after another, in order of time."""

    window: Window
    scores: NDArray[np.float64]
    entities: NDArray[np.uint32]
    moments: NDArray[np.int64]

    @classmethod
    def of(cls, drawn: Drawn, window: Window) -> Neighbours:
        order = np.lexsort((drawn.moments, drawn.entities))
        return cls(window, drawn.scores[order], drawn.entities[order], drawn.moments[order])

    @cached_property
    def stretches(self) -> NDArray[np.int64]:
        """(n,) which follow one another without a break."""
        breaks = np.diff(self.moments) > self.window.gap
        breaks |= np.diff(self.entities) != 0
        return np.concatenate([[0], np.cumsum(breaks)])[: len(self.scores)]

    def alike(self, alarms: float, threshold: float) -> Alike:
        """Return how alike they are. threshold: from which score records alarm."""
        quiet = np.minimum(self.scores, threshold)
        blocks = independent_blocks(quiet, self.stretches)
        return Alike(alarms, max(alarms, len(quiet) / blocks))

    def blocks(self, calibration: Calibration) -> int:
        """Return how many independent records they are worth to a calibration."""
        return alarm_blocks(calibration, self.scores, self.stretches, self.window.size)

    def score_blocks(self) -> int:
        """Return how many independent records they are worth, as far as their scores go."""
        return independent_blocks(self.scores, self.stretches)

    def counting(self, calibration: Calibration) -> Counting:
        """Return them, to count the incidents among the alarms by a calibration."""
        names = [str(entity) for entity in self.entities.tolist()]
        return Counting(calibration, self.scores, names, self.moments, self.window)
