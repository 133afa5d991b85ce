"""scores of windows, with their entities and moments -> what a budget of them is worth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, allowed_rank
from vaewatch.scoring.budget.described import describe_blocks
from vaewatch.scoring.budget.summary import CalibrationSummary
from vaewatch.scoring.series.promise import (
    Counting,
    alarm_blocks,
    alpha_for,
    independent_blocks,
)
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.calibration.rehearsal import play
from vaewatch.training.calibration.worth import entity_blocks, warn_of_few_blocks

log = logging.getLogger("vaewatch.training")


@dataclass(frozen=True)
class JudgedWindows:
    """J windows that calibrate, in order of time within each stretch.

    Attributes:
        scores: (J,) by what did not see them. moments: (J,) of the records that they judge.
        entities: of each; None where there is one series.
        stretches: (J,) which follow one another without a break.
        by_entity: whether what judged them saw none of their entity, in place of their time.
    """

    window: Window
    calibration: Calibration
    scores: NDArray[np.float64]
    moments: NDArray[np.int64]
    entities: Sequence[str] | None
    stretches: NDArray[np.int64]
    by_entity: bool = False

    @cached_property
    def blocks(self) -> int:
        """How many independent records they are worth, as far as alarms go."""
        blocks = alarm_blocks(self.calibration, self.scores, self.stretches, self.window.size)
        if not self.by_entity or self.entities is None:
            return blocks
        return min(blocks, entity_blocks(self.calibration, self.scores, self.entities))

    @cached_property
    def score_blocks(self) -> int:
        """How many independent records they are worth, as far as their scores go."""
        return min(self.blocks, independent_blocks(self.scores, self.stretches))

    def described(self) -> CalibrationSummary:
        """Return what the manifest says of their calibration."""
        return describe_blocks(self.calibration, self.blocks, by_entity=self.by_entity)

    @property
    def counting(self) -> Counting:
        """The same windows, to count their incidents."""
        place = self.entities, self.moments, self.window
        return Counting(self.calibration, self.scores, *place)

    def alpha_for(self, wanted: float) -> float:
        """Return the alpha with so many false incidents per entity and day; see
        `vaewatch.scoring.series.promise.alpha_for`.
        """
        return alpha_for(wanted, self.counting)

    def at(self, alpha: float) -> JudgedWindows:
        """Return the same windows with another alpha."""
        return replace(self, calibration=replace(self.calibration, alpha=alpha))

    def only(self, rows: NDArray[np.bool_]) -> JudgedWindows:
        """Return some of the windows, which calibrate by themselves for the same entities."""
        at = np.flatnonzero(rows)
        entities = None if self.entities is None else [self.entities[i] for i in at.tolist()]
        scores = self.scores[at]
        own = replace(self.calibration, scores=np.sort(scores))
        return JudgedWindows(
            self.window, own, scores, self.moments[at], entities, self.stretches[at]
        )

    def peaks(self) -> NDArray[np.float64]:
        """Return the highest score of each false incident, (K,), ascending."""
        return self.counting.peaks()

    def incidents(self) -> dict[str, float]:
        """Return the false incidents per entity and day at each alpha that is shown, as text."""
        return self.counting.by_alpha()


def outlook_of_windows(judged: JudgedWindows, later: NDArray[np.bool_]) -> Outlook | None:
    """Play the later ones of (J,) windows through: each block of time is compared with all before
    it. As for single records (`vaewatch.training.calibration.rehearsal`), with what chance allows
    by blocks of neighbours, since these alarm together.

    Returns:
        None if the time before has too few windows to certify alpha.
    """
    if later.all() or not later.any():
        return None
    alpha = judged.calibration.alpha
    if allowed_rank(alpha, int((~later).sum())) < 1:
        return None
    past = judged.only(~later)
    length = len(past.scores) / past.blocks
    return play(past.scores, judged.scores[later], judged.moments[later], alpha, None, length)


def later_half(judged: JudgedWindows) -> NDArray[np.bool_]:
    """(J,) -> (J,): which windows are of the later half of the time."""
    return np.asarray(judged.moments > np.median(judged.moments))


def warn_of_few(judged: JudgedWindows) -> None:
    """Say so where the blocks are too few for the rate that was asked for."""
    alike, more, whose = "neighbouring windows", "a longer time or more entities", ""
    if judged.by_entity:
        alike, more, whose = "the windows of an entity", "more entities", " of new entities"
    warn_of_few_blocks(judged.calibration, judged.blocks, alike, more, whose)
