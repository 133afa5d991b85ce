"""scores of windows, with their entities and moments -> what a budget of them is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.series.incidents import DAY
from vaewatch.scoring.series.window import Window
from vaewatch.training.calibration.calibrate import shown_alphas
from vaewatch.training.series.promise import alpha_for, incidents_per_day, independent_blocks


@dataclass(frozen=True)
class JudgedWindows:
    """J windows that calibrate, in order of time within each stretch.

    Attributes:
        scores: (J,) by what did not see them. moments: (J,) of the records that they judge.
        entities: of each; None where there is one series.
        stretches: (J,) which follow one another without a break.
    """

    window: Window
    calibration: Calibration
    scores: NDArray[np.float64]
    moments: NDArray[np.int64]
    entities: Sequence[str] | None
    stretches: NDArray[np.int64]

    @cached_property
    def blocks(self) -> int:
        """How many independent records they are worth, as far as alarms go: windows that share
        records are never independent, others are where their alarms do not come together.
        """
        alarms = self.calibration.alarms(self.calibration.p_values(self.scores))
        apart = max(1, len(self.scores) // self.window.size)
        return min(independent_blocks(alarms.astype(np.float64), self.stretches), apart)

    def alpha_for(self, wanted: float) -> float:
        """Return the alpha with so many false incidents per entity and day.

        Raises:
            CalibrationError: the records are of too short a time for it.
        """
        check_countable(wanted, len(self.scores), self.window)
        place = self.entities, self.moments, self.window
        return alpha_for(wanted, self.calibration, self.scores, *place)

    def at(self, alpha: float) -> JudgedWindows:
        """Return the same windows with another alpha."""
        return replace(self, calibration=replace(self.calibration, alpha=alpha))

    def only(self, rows: NDArray[np.bool_]) -> JudgedWindows:
        """Return some of the windows, which calibrate by themselves."""
        at = np.flatnonzero(rows)
        entities = None if self.entities is None else [self.entities[i] for i in at.tolist()]
        scores = self.scores[at]
        own = replace(self.calibration, scores=np.sort(scores))
        return JudgedWindows(
            self.window, own, scores, self.moments[at], entities, self.stretches[at]
        )

    def incidents(self) -> dict[str, float]:
        """Return the false incidents per entity and day at each alpha that is shown, as text."""
        place = self.entities, self.moments, self.window
        return {
            f"{alpha:g}": incidents_per_day(self.calibration, self.scores, *place, alpha)
            for alpha in shown_alphas(self.calibration)
        }


def check_countable(wanted: float, records: int, window: Window) -> None:
    """Refuse so few incidents per entity and day that not one would be counted in records.

    Raises:
        CalibrationError: they are so few.
    """
    days = records * window.step / DAY
    if wanted * days < 1:
        raise CalibrationError(
            f"--incidents-per-day {wanted:g} takes {math.ceil(1 / wanted):,} entity-days of "
            f"normal records, in which one false incident would be counted, got {days:,.3g}. Ask "
            "for more incidents, or give more records."
        )
