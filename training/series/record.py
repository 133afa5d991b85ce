"""fit records -> RecordView: how unlike those of the fit a window's last record is, by itself.

A window hides what is odd about one of its records, such as a temperature below the dew point for
an hour. So the last record is compared with kept ones, along axes on which these are uncorrelated
and vary alike (whitening). That shows a small departure from what always holds as well as a large
one from what seldom does. What is odd of one of many columns shows in that column by itself (see
`vaewatch.training.odd.errors`).

Of a single column the record says no more than that a value is high, which the other views tell
from what is usual at that point of its course. There these views add false alarms alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.odd.errors import ColumnErrors

NEAREST = 3
MOST_NUMBERS = 1000  # of a record whose columns are judged: it takes an inverse of twice as many
LEAST_VARIANCE = 0.02  # of the mean variance: along what does not vary, rounding would decide

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RecordView:
    """The last records of the kept windows.

    pairs: (K, 2, D), and those before them, as they are. column_of: (D,). mean: (D,), and axes:
        (D, D), which whiten the records. bank: of them, whitened. columns: what is usual of each;
        None of more than MOST_NUMBERS.
    """

    pairs: NDArray[np.float32]
    column_of: NDArray[np.int64]
    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    bank: Bank
    columns: ColumnErrors | None

    @classmethod
    def of(cls, pairs: NDArray[np.float32], column_of: NDArray[np.int64]) -> RecordView:
        """Fit the view to (K, 2, D) last records and those before."""
        records = pairs[:, 1]
        mean = records.mean(0)
        covariance = np.atleast_2d(np.cov(records.astype(np.float64), rowvar=False))
        variances, axes = np.linalg.eigh(covariance)
        least = LEAST_VARIANCE * variances.mean() + np.finfo(np.float32).tiny
        axes = (axes / np.sqrt(np.maximum(variances, 0.0) + least)).astype(np.float32)
        white = np.asarray((records - mean) @ axes, np.float32)
        bank = Bank.of(white, NEAREST, np.eye(len(mean)))
        few = len(mean) <= MOST_NUMBERS
        columns = ColumnErrors.of(pairs, column_of) if few else None
        return cls(pairs, column_of, mean, axes, bank, columns)

    @property
    def measures(self) -> int:
        """R, how many numbers `measure` gives."""
        return 1 + (self.columns is not None)

    def measure(self, pairs: NDArray[np.float32]) -> Floats:
        """(N, 2, D) records and those before -> (R, N): how far the records are from the kept
        ones, and how odd the oddest column is.
        """
        columns = () if self.columns is None else (self.columns.oddest(pairs),)
        return np.stack([self.distance(pairs[:, 1]), *columns])

    def distance(self, records: NDArray[np.float32]) -> Floats:
        """(N, D) records -> (N,): how far they are from the kept ones."""
        return self.bank.distance(np.asarray((records - self.mean) @ self.axes, np.float32))

    def only(self, kept: NDArray[np.bool_]) -> RecordView:
        """Return the view of some of the kept records, (K,): nothing in it ever saw others."""
        return RecordView.of(self.pairs[kept], self.column_of)
