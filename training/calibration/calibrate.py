"""scores of normal records -> Calibration."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.drift import DriftReference, count_bins, quantile_edges
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.texts import moment_of_text


def calibrate(scores: NDArray[np.float64], alpha: float, rule: str) -> Calibration:
    """Make a Calibration of (n,) scores in nats, of records that the network was not fitted to."""
    return Calibration(np.sort(scores.astype(np.float64)), alpha, rule)


def fit_drift(table: Table) -> DriftReference:
    """Make the reference that live traffic is compared with, of normal records."""
    edges = quantile_edges(table.numbers)
    return DriftReference(table.schema, edges, count_bins(table.schema, edges, table))


def with_changes(
    found: Outlook | None, table: Table, reference: DriftReference | None = None
) -> Outlook | None:
    """Name what has changed since the blocks began that say that the budget does not hold, but not
    of fewer than the last three: beside a reference, or the records of the table before them.
    """
    since = None if found is None else moment_of_text(_since(found))
    if found is None or found.state is not State.ABOVE or table.times is None or since is None:
        return found
    lately = table.times >= since[0]
    if reference is None:
        past = (table.times != NO_TIME) & ~lately
        reference = fit_drift(table.take(np.flatnonzero(past)))
    changed = reference.changed(table.take(np.flatnonzero(lately)))
    return msgspec.structs.replace(found, changed=changed)


def _since(found: Outlook) -> str:
    return min(found.evidence.start, found.lately.start)
