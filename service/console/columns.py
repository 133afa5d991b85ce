"""window -> the recent values of each column, beside those of the calibration."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.drift import BINS, MUCH, DriftReference, bins_of
from vaewatch.scoring.schema import Column, Kind
from vaewatch.service.watch.gauges import LEAST_RECORDS
from vaewatch.service.watch.window import Totals

SHARE = 0.05  # a larger rise in missing or new values is reported as such


class ColumnState(msgspec.Struct):
    """One column: shares of the recent records, and as `usual_...` of the calibration's.

    psi: None while there are too few records.
    unseen: categories that the fit data never had, or numbers outside its range, most of which are
        near enough to be no unseen events.
    first_reason: alarms of which the column is the first reason.
    changed: the difference in words; None if there is little.
    """

    name: str
    kind: str
    psi: float | None
    missing: float
    usual_missing: float
    unseen: float
    usual_unseen: float
    first_reason: int
    changed: str | None = None


def columns_of(drift: DriftReference, window: Totals) -> list[ColumnState]:
    """Describe each column, in the schema's order; an empty window has none."""
    if not window.records:
        return []
    live = np.array(window.counts, dtype=np.int64)
    missing, unseen, outside, first = np.array(window.events, dtype=np.int64)
    psi, noise = drift.psi(live), drift.psi_by_chance(window.records)
    bins = bins_of(drift.schema)
    found = []
    for i, column in enumerate(drift.schema.columns):
        usual_missing, usual_unseen = _usual(column, drift.counts[i, : bins[i]])
        state = ColumnState(
            name=column.name,
            kind=column.kind.value,
            psi=float(psi[i]) if window.records >= LEAST_RECORDS else None,
            missing=float(missing[i]) / window.records,
            usual_missing=usual_missing,
            unseen=float(unseen[i] + outside[i]) / window.records,
            usual_unseen=usual_unseen,
            first_reason=int(first[i]),
        )
        state.changed = _changed(state, float(noise[i]))
        found.append(state)
    return found


def _usual(column: Column, counts: NDArray[np.int64]) -> tuple[float, float]:
    """The shares of missing and of unseen values among the calibration's records."""
    total = max(1, int(counts.sum()))
    if column.is_number:
        return float(counts[BINS]) / total, 0.0
    unseen = counts[-2] if column.kind is Kind.CATEGORICAL else 0
    return float(counts[-1]) / total, float(unseen) / total


def _changed(state: ColumnState, noise: float) -> str | None:
    if state.psi is None:
        return None
    if abs(state.missing - state.usual_missing) > SHARE:
        return f"missing in {_percent(state.missing)}, usually {_percent(state.usual_missing)}"
    if state.unseen - state.usual_unseen > SHARE:
        return f"new values in {_percent(state.unseen)} of records"
    return "its values are distributed differently" if state.psi - noise > MUCH else None


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"
