"""windows that were judged -> the alarms and incidents among them that chance explains.

Windows of neighbouring records share most of these, so that their alarms come together: N of them
are worth as many independent ones as the fit's windows were, in proportion. People look at
incidents: alarms of one entity no further apart than a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaewatch.scoring.budget.calibration import Calibration, block_law
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.summary import CalibrationSummary
from vaewatch.scoring.series.incidents import entity_days
from vaewatch.scoring.series.window import SeriesSummary, Window
from vaewatch.scoring.time.form import DAY

LONGEST = 3650.0  # days


def alike(calibration: Calibration, series: SeriesSummary) -> float:
    """Return how many neighbouring records are worth one independent record."""
    return max(1.0, calibration.n / max(series.blocks, 1))


def days_for_precision(
    summary: CalibrationSummary, series: SeriesSummary, window: Window
) -> float | None:
    """Return the days of the fit's entities that bring the interval of the rate within 20% of
    alpha; None if it would take more than ten years.
    """
    days = entity_days(summary.records_for_20_percent, window) / max(series.entities, 1)
    return days if days <= LONGEST else None


def expected_of_windows(
    calibration: Calibration, series: SeriesSummary, judged: int, alpha: float | None = None
) -> Expected:
    """Return the alarms that chance brings among so many judged records. Their range is that of
    independent blocks, each of which alarms as a whole or not at all.
    """
    alpha = calibration.alpha if alpha is None else alpha
    alone = Expected.at(calibration, judged, alpha)
    blocks = Expected.of(block_law(calibration, alpha, series.blocks), judged)
    low, high = min(alone.low, blocks.low), max(alone.high, blocks.high)
    return Expected(judged, alone.mean, low, high, blocks.bound)


@dataclass(frozen=True)
class Incidents:
    """The incidents among so many days of entities, beside those that were foretold.

    Attributes:
        seen: incidents.
        days: of entities, as the judged records are worth at their usual step.
        foretold: false incidents per entity and day, as counted on the fit data; None at an alpha
            that is larger than all that were.
        bound: whether `foretold` is that of the next larger alpha, and so at most so many.
        least: what one incident of the fit data was, per entity and day: fewer cannot be foretold.
    """

    seen: int
    days: float
    foretold: float | None
    bound: bool
    least: float

    @classmethod
    def of(
        cls, seen: int, judged: int, series: SeriesSummary, window: Window, alpha: float
    ) -> Incidents:
        """Compare the incidents among so many judged records with those of the fit data."""
        known = {float(name): rate for name, rate in series.incidents_per_day.items()}
        at = min((a for a in known if a >= alpha * (1 - 1e-9)), default=None)
        bound = at is not None and not math.isclose(at, alpha)
        days = entity_days(judged, window)
        least = DAY / max(series.windows * window.step, 1)
        return cls(seen, days, None if at is None else known[at], bound, least)

    @property
    def per_day(self) -> float | None:
        """Incidents per entity and day; None of no days."""
        return self.seen / self.days if self.days else None

    @property
    def words(self) -> str:
        """Return both numbers as one phrase."""
        counted = f"{self.seen:,} incident{'' if self.seen == 1 else 's'}"
        if self.per_day is None:
            return f"{counted}: no record was judged"
        if self.foretold is None:
            told = "none foretold at this alpha"
        elif self.foretold < self.least:
            told = f"fewer than {self.least:.3g} foretold"
        else:
            told = f"{'up to ' if self.bound else ''}{self.foretold:.3g} foretold"
        return f"{counted}: {self.per_day:.3g} per entity and day, {told} of normal traffic"
