"""fit records -> RecordView: how unlike those of the fit a window's last record is, by itself.

A window hides what is odd about one of its records, such as a temperature below the dew point for
an hour. So the last record is compared with kept ones, along axes on which these are uncorrelated
and vary alike (whitening). That shows a small departure from what always holds as well as a large
one from what seldom does.

Of a single column the record says no more than that a value is high, which the other views tell
from what is usual at that point of its course. There this view adds false alarms alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.calibration.neighbours import Bank

NEAREST = 3
LEAST_VARIANCE = 0.02  # of the mean variance: along what does not vary, rounding would decide

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RecordView:
    """The last records of the kept windows.

    records: (K, D) as they are. mean: (D,), and axes: (D, D), which whiten them. bank: of them,
        whitened.
    """

    records: NDArray[np.float32]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    bank: Bank

    @classmethod
    def of(cls, records: NDArray[np.float32]) -> RecordView:
        """Fit the view to (K, D) last records."""
        mean = records.mean(0)
        covariance = np.atleast_2d(np.cov(records.astype(np.float64), rowvar=False))
        variances, axes = np.linalg.eigh(covariance)
        least = LEAST_VARIANCE * variances.mean() + np.finfo(np.float32).tiny
        axes = (axes / np.sqrt(np.maximum(variances, 0.0) + least)).astype(np.float32)
        white = np.asarray((records - mean) @ axes, np.float32)
        return cls(records, mean, axes, Bank.of(white, NEAREST, np.eye(len(mean))))

    def distance(self, records: NDArray[np.float32]) -> Floats:
        """(N, D) records -> (N,): how far they are from the kept ones."""
        return self.bank.distance(np.asarray((records - self.mean) @ self.axes, np.float32))

    def only(self, kept: NDArray[np.bool_]) -> RecordView:
        """Return the view of some of the kept records, (K,): their axes, too, never saw others."""
        return RecordView.of(self.records[kept])
