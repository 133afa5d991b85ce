"""old calibration, sample of served scores -> the calibration that would follow them.

The records that alarm are part of the sample. Without them the new calibration would be that of
the quiet ones alone, and normal records would alarm at up to alpha more than before. With them
alpha bounds the alarms of all records together, and so those of the normal ones: anomalies among
the records can only make the budget of normal records smaller than asked, never larger, as long as
they score at least as high as normal ones do. The price is that the threshold rises, see
`vaewatch.service.recalibrate.refusals`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, RateLaw, block_law
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.series.promise import alpha_for
from vaewatch.scoring.series.window import Window
from vaewatch.service.recalibrate.neighbours import ALONE, Alike, Neighbours
from vaewatch.service.recalibrate.sample import NOTHING, Drawn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OldWindows:
    """What the artifact that answers promises of windows.

    alike: how many neighbouring records are worth one independent record.
    incidents_per_day: that it was trained for, of one entity; None where alpha was.
    """

    calibration: Calibration
    window: Window
    alike: float
    incidents_per_day: float | None


@dataclass(frozen=True)
class Change:
    """An old and a new calibration at one alpha, and the sample that made the new one.

    alpha: that of the new calibration, or the least that both can certify.
    before: a sample of the traffic before, if any is kept.
    alike, neighbours: of records that are judged with those before them.
    """

    old: Calibration
    new: Calibration
    drawn: Drawn
    before: Drawn = NOTHING
    alike: Alike = ALONE
    neighbours: Neighbours | None = None

    @classmethod
    def of(cls, old: Calibration, drawn: Drawn, alpha: float, before: Drawn = NOTHING) -> Change:
        """Calibrate on a sample of records that are judged by themselves.

        Raises:
            SettingError: no number of records could certify alpha.
            CalibrationError: more records could.
        """
        return cls(old, Calibration(np.sort(drawn.scores), alpha, SPLIT), drawn, before)

    @classmethod
    def of_windows(
        cls, drawn: Drawn, before: Drawn, old: OldWindows, alpha: float | None
    ) -> Change:
        """Calibrate on a sample of records that are judged with those before them.

        alpha: None for that of the old calibration, or for one that brings as many false incidents
            as the artifact was trained for.

        Raises:
            SettingError, CalibrationError: as `of` does, or the time is too short to count
                incidents.
        """
        neighbours = Neighbours.of(drawn, old.window)
        rate = old.calibration.alpha if alpha is None else alpha
        new = Calibration(np.sort(drawn.scores), rate, SPLIT)
        if alpha is None and old.incidents_per_day is not None:
            new = replace(new, alpha=alpha_for(old.incidents_per_day, neighbours.counting(new)))
        change = cls(old.calibration, new, drawn, before, neighbours=neighbours)
        alike = neighbours.alike(old.alike, change.threshold(old.calibration))
        return replace(change, alike=alike)

    @cached_property
    def blocks(self) -> int:
        """How many independent records the sample is worth."""
        return self.new.n if self.neighbours is None else self.neighbours.blocks(self.new)

    @cached_property
    def law(self) -> RateLaw:
        """The law of the true rate of the new calibration."""
        if self.neighbours is None:
            return self.new.rate_law()
        return block_law(self.new, self.new.alpha, self.blocks)

    def expected(self, records: int) -> Expected:
        """Return the alarms by the new calibration that chance brings among so many records."""
        law = self.new.rate_law(self.alpha) if self.neighbours is None else self.law
        return Expected.of(law, records)

    def old_law(self, rate: float) -> RateLaw:
        """Return the law of the old calibration at a rate."""
        if self.neighbours is None:
            return self.old.rate_law(rate)
        return block_law(self.old, rate, max(1, int(self.old.n / self.alike.alarms)))

    @property
    def alpha(self) -> float:
        return max(self.new.alpha, 1 / (self.old.n + 1))

    @cached_property
    def p_values(self) -> Floats:
        """(n,) p-values of the sample by the old calibration."""
        return self.old.p_values(self.drawn.scores)

    @cached_property
    def own_p_values(self) -> Floats:
        """(n_old,) p-values of the old calibration's scores by itself: with ties, not uniform."""
        return self.old.p_values(self.old.scores)

    def alarms(self, by: Calibration) -> NDArray[np.bool_]:
        """(n,) which records of the sample alarm by one of the two."""
        return by.alarms(by.p_values(self.drawn.scores), self.alpha)

    def incidents_per_day(self, by: Calibration) -> float | None:
        """Return the incidents of one entity among the alarms by one of the two; None of records
        that are judged by themselves.
        """
        found = self.neighbours
        return None if found is None else found.counting(by).per_day(self.alpha)

    def threshold(self, by: Calibration) -> float:
        """Return the score in nats from which records alarm by one of the two."""
        threshold = by.threshold(self.alpha)
        assert threshold is not None  # alpha is one that both can certify
        return threshold

    @property
    def room(self) -> float:
        """How many alarms of the sample may be others than normal records until these alarm more
        seldom than the interval of the new calibration says. Its blocks are counted as those of
        normal records.
        """
        law = self.new.rate_law()
        if self.neighbours is not None:
            blocks = max(1, int(self.new.n / self.alike.alarms))
            law = block_law(self.new, self.new.alpha, blocks)
        return self.new.n * (self.new.alpha - law.interval()[0])

    @property
    def factor(self) -> float:
        """How many times as far the new threshold lies from the old median score as the old one
        does. Neither the unit nor the origin of the scores matters to it.
        """
        middle = float(np.median(self.old.scores))
        far = self.threshold(self.old) - middle
        return (self.threshold(self.new) - middle) / far if far > 0 else float("inf")
