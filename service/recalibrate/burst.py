"""change -> Burst: alarms by the new calibration that stand close together in time.

If the records of the time are alike, the alarms lie among them at random. Spans of every length
are compared with that, from half of the records down to one in 256.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.expected import TAIL
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.excess import Excess
from vaewatch.service.watch.scores import MINUTE

MOST_IN_BURSTS = 0.2  # of the alarms by the new calibration
SPANS, LEAST_SPANS, ALARMS_A_SPAN = 48, 5, 4
LOUD, LOUD_ERRORS = 3.0, 4.0  # times the alarms of a usual span, and standard errors above it
HALVINGS = 8  # of the records: the shortest spans that are compared

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Burst:
    """The share of the alarms that are too many for their time, and when that was, in Unix
    seconds.
    """

    share: float
    since: float
    until: float


def burst_of(change: Change) -> Burst | None:
    """Return the burst that a new calibration would learn, if there is one."""
    return _loud(change) or _flood(change)


def _loud(change: Change) -> Burst | None:
    """Return spans that are several times louder than the usual one, if they make much of all
    alarms, whether their other records have moved as well or not.
    """
    alarms = change.alarms(change.new)
    if len(alarms) < LEAST_SPANS:
        return None
    total = int(alarms.sum())
    alike = change.alike.alarms
    spans = int(np.clip(total / alike // ALARMS_A_SPAN, LEAST_SPANS, SPANS))
    starts = np.arange(spans) * len(alarms) // spans  # as many records in each
    counts = np.add.reduceat(alarms.astype(np.int64), starts)
    sizes = np.diff([*starts, len(alarms)])
    usual = sizes * max(float(np.median(counts / sizes)), change.alpha / 4)
    errors = np.sqrt(alike * (usual + alike))  # of so many alarms, where neighbours are alike
    loud = (counts > LOUD * usual) & (counts - usual > LOUD_ERRORS * errors)
    share = float((counts - usual)[loud].sum()) / max(total, 1)
    return _burst(change, np.repeat(loud, sizes), share) if share > MOST_IN_BURSTS else None


def _flood(change: Change) -> Burst | None:
    """Return spans with more alarms than chance explains, if these matter and the other records
    are there as they are at other times.
    """
    alarms = change.alarms(change.new)
    mask = crowded(alarms, change.alike.alarms)
    if not mask.any() or mask.all():
        return None
    excess = float(alarms[mask].sum() - alarms[~mask].mean() * mask.sum())
    p_values = change.p_values
    moved = Excess.between(
        p_values[mask], p_values[~mask], change.alpha, change.alike.scores
    ).moved
    if excess <= change.room or moved:
        return None
    return _burst(change, mask, excess / int(alarms.sum()))


def crowded(alarms: Mask, alike: float = 1.0) -> Mask:
    """(n,) alarms in order of time -> (n,): which records lie in a span with more alarms than
    chance explains, by a bound that holds for draws without replacement (Hoeffding, 1963).
    alike: neighbours that are worth one independent record.
    """
    n, total = len(alarms), int(alarms.sum())
    lengths = [n >> i for i in range(1, HALVINGS + 1) if n >> i > 1]
    if not total or not lengths:
        return np.zeros(n, np.bool_)
    firsts = [np.arange(0, n - length + 1, length // 2) for length in lengths]
    starts = np.concatenate(firsts)
    ends = starts + np.repeat(lengths, [len(each) for each in firsts])
    so_far = np.concatenate([[0], np.cumsum(alarms)])
    counts, usual = so_far[ends] - so_far[starts], total * (ends - starts) / n
    times = np.maximum(counts / usual, 1.0)
    log_chance = -usual / alike * (times * np.log(times) - times + 1)
    mask = np.zeros(n, np.bool_)
    for i in log_chance.argsort().tolist():  # the most improbable first, and apart from each other
        if log_chance[i] >= np.log(TAIL / len(starts)):
            break
        if not mask[starts[i] : ends[i]].any():
            mask[starts[i] : ends[i]] = True
    return mask


def _burst(change: Change, mask: Mask, share: float) -> Burst:
    at = change.drawn.at[mask]
    return Burst(share, float(at[0]), float(at[-1]) + MINUTE)
