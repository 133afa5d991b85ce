"""labels and scores of one series -> VUS-PR: precision and recall that forgive a score being early
or late.

Each anomaly gets soft shoulders of up to half a buffer; the area under precision and recall is
averaged over buffers of 0 to L records (Paparrizos et al., VLDB 2022). Shoulders count where an
alarm falls on them, and nowhere else, as TSB-AD reports it: a detector that alarms on anomalies
alone has 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def vus_pr(anomaly: NDArray[np.bool_], score: Floats, buffer: int) -> float | None:
    """Return the volume under the surface of precision and recall; None without an anomaly.

    Args:
        anomaly, score: (N,) of one series, in order of time.
        buffer: L, the longest one, in records.
    """
    first, last = spans_of(anomaly)
    if not len(first):
        return None
    steps, inverse = np.unique(-score, return_inverse=True)  # thresholds, the highest score first
    reached = _Reached(inverse.astype(np.int64), len(steps))
    near = _near(len(anomaly), first, last)
    areas = [
        _area(reached, anomaly, _shoulders(near, anomaly, each), _merged(first, last, each // 2))
        for each in range(buffer + 1)
    ]
    return float(np.mean(areas))


def spans_of(mask: NDArray[np.bool_]) -> tuple[Places, Places]:
    """(N,) -> the first and the last place of each run of true values."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


class _Reached:
    """The thresholds, from the highest on, that each record reaches.

    Args:
        step: (N,) the first one.
        steps: how many there are.
    """

    def __init__(self, step: Places, steps: int) -> None:
        self.step, self.steps = step, steps

    def total(self, weights: Floats) -> Floats:
        """(N,) weights -> (steps,) the weight of the records that reach each threshold."""
        return np.cumsum(np.bincount(self.step, weights, minlength=self.steps))

    def spans(self, bounds: list[tuple[int, int]]) -> Floats:
        """Return how many of these spans of records have one that reaches each threshold."""
        first = [int(self.step[a : b + 1].min()) for a, b in bounds]
        return np.cumsum(np.bincount(first, minlength=self.steps)).astype(np.float64)


def _area(
    reached: _Reached, anomaly: NDArray[np.bool_], soft: Floats, spans: list[tuple[int, int]]
) -> float:
    """Return the average precision at one buffer; recall is scaled by the share of the spans that
    have an alarm at all.
    """
    inside, on_shoulders = reached.total(anomaly.astype(np.float64)), reached.total(soft)
    alarms = reached.total(np.ones(len(anomaly)))
    hit = inside + on_shoulders
    recall = np.minimum(1.0, hit / (anomaly.sum() + on_shoulders / 2))
    recall *= reached.spans(spans) / len(spans)
    return float(np.diff(recall, prepend=0.0) @ (hit / alarms))


def _near(n: int, first: Places, last: Places) -> Floats:
    """Return how far each record is from the two anomalies before and the two after it, (4, N)."""
    at = np.arange(n)
    before, after = np.searchsorted(last, at), np.searchsorted(first, at, side="right")
    out = np.full((4, n), np.inf)
    for row, which in enumerate((before - 1, before - 2)):
        known = which >= 0
        out[row, known] = at[known] - last[which[known]]
    for row, which in enumerate((after, after + 1), 2):
        known = which < len(first)
        out[row, known] = first[which[known]] - at[known]
    return out


def _shoulders(near: Floats, anomaly: NDArray[np.bool_], buffer: int) -> Floats:
    """Return the weight of each record outside anomalies, (N,): of one at distance d, within half
    a buffer, the root of 1 - d / buffer. Those of several anomalies add up, to 1 at most; two of
    them always do, so that more than two on a side need not be looked at.
    """
    if buffer < 2:
        return np.zeros(len(anomaly))
    weight = np.sqrt(np.clip(1 - near / buffer, 0.0, None)) * (near <= buffer // 2)
    return np.asarray(np.minimum(weight.sum(0), 1.0) * ~anomaly)


def _merged(first: Places, last: Places, half: int) -> list[tuple[int, int]]:
    """Return the spans of anomalies with their shoulders; those that meet are one."""
    out: list[tuple[int, int]] = []
    for a, b in zip(first.tolist(), last.tolist(), strict=True):
        if out and a - half <= out[-1][1]:
            out[-1] = out[-1][0], b + half
        else:
            out.append((max(a - half, 0), b + half))
    return out
