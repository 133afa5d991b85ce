"""scores in order of time -> when the alert on changed traffic would have been firing.

It looks at all records since the start, so it notices a share of alarms that is too large for the
budget but too thin for the windows of the other alerts: an alarm in ten, at a record an hour. The
numbers are those of deploy/prometheus/rules.yml; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.replay.alerts import Burst
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.stream.martingale import Exchangeability

NAME, SEVERITY = "VaewatchTrafficChanged", "ticket"
LIMIT = 4.0  # log10 of the martingale: by chance one stream in 10,000 ever exceeds it
PENDING = 15  # minutes for which it must stay above
STEP = 15  # minutes after which it is looked at
LATE = 60  # minutes by which a record may come after a later one


@dataclass
class TrafficWatch:
    """Takes the scores of a stream. in_order: whether they came in order of time, roughly; if not,
    the martingale would see the order of the file.
    """

    calibration: Calibration
    own: Sequence[NDArray[np.float64]] = ()  # of segments that have a calibration of their own
    in_order: bool = True
    _points: list[tuple[int, float]] = field(default_factory=list)
    _latest: int | None = None

    def __post_init__(self) -> None:
        generator = np.random.default_rng(0)
        self._martingale = Exchangeability.of(self.calibration, self.own, generator)

    def take(
        self,
        minutes: NDArray[np.int64],
        scores: NDArray[np.float64],
        slots: NDArray[np.int64] | None = None,
    ) -> None:
        """Take (N,) scores and their (N,) minutes since 1970. `slots`: (N,) which of `own` judges
        each, from 1; 0 for the pooled calibration.
        """
        if not len(minutes) or not self.in_order:
            return
        first = minutes[0] if self._latest is None else self._latest
        latest = np.maximum.accumulate(np.maximum(minutes, first))
        self.in_order = bool((latest - minutes <= LATE).all())
        self._latest = int(latest[-1])
        steps = latest // STEP
        cuts = np.flatnonzero(np.diff(steps)) + 1
        ends = [*cuts.tolist(), len(steps)]
        for start, end in zip([0, *cuts.tolist()], ends, strict=True):
            some = None if slots is None else slots[start:end]
            value = self._martingale.update(scores[start:end], some)
            self._points.append((int(steps[start]), value))

    def bursts(self) -> list[Burst]:
        """When the alert was firing, up to the last record."""
        found, start = list[Burst](), None
        last = self._latest or 0
        for step, value in [*self._points, (last // STEP, -np.inf)]:
            moment = min((step + 1) * STEP, last)
            if value > LIMIT:
                start = moment if start is None else start
            elif start is not None:
                if moment - start > PENDING:
                    found.append(Burst(start + PENDING, moment))
                start = None
        return found
