"""scores of normal records -> Calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.drift import DriftReference, count_bins, quantile_edges
from vaewatch.scoring.table import Table


def calibrate(scores: NDArray[np.float64], alpha: float, rule: str) -> Calibration:
    """Make a Calibration of (n,) scores in nats, of records that the network was not fitted to."""
    return Calibration(np.sort(scores.astype(np.float64)), alpha, rule)


def fit_drift(table: Table) -> DriftReference:
    """Make the reference that live traffic is compared with, of normal records."""
    edges = quantile_edges(table.numbers)
    return DriftReference(table.schema, edges, count_bins(table.schema, edges, table))
