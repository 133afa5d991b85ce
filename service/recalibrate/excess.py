"""change -> records that were added to the end of the scores, while all others stayed the same.

Two questions. Do more records score high than chance explains? That is asked at alpha and at ever
smaller rates, down to the highest score of the reference: an attack scores far out, where chance
brings least, so that few records show it. And have the records that do not alarm moved as well? A
shift moves all records; an attack leaves the normal ones where they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, allowed_rank
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.expected import TAIL
from vaewatch.service.recalibrate.change import Change

CLEAR = 3.0  # standard errors of the change among the records that do not alarm
LEAST_UNUSUAL = 0.5  # of the excess of alarms: so many more must be unusual without alarming
APART = 2.0  # times alpha: records below are neither alarms nor close to them
BOUNDS = (0.1, 0.2, 0.35, 0.5)  # p-values up to which records that do not alarm are unusual

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Excess:
    """By how much some records exceed others, as shares of all of them.

    alarms: among those that alarm. unusual: among those that do not, but are unusual; of windows,
        as a share of those that do not alarm.
    errors: of `unusual`, in standard errors.
    """

    alarms: float
    unusual: float
    errors: float

    @classmethod
    def of(cls, change: Change) -> Excess:
        """Compare the sample with the old calibration's own scores."""
        own = change.own_p_values
        return cls.between(change.p_values, own, change.alpha, change.alike.scores)

    @classmethod
    def between(cls, p_values: Floats, usual: Floats, alpha: float, alike: float) -> Excess:
        """Compare (n,) p-values with (m,) usual ones, up to the bound at which the unusual records
        stand out most. alike: neighbours that are worth one independent record.
        """
        alarms, least = _share(p_values, alpha) - _share(usual, alpha), APART * alpha
        found = [_middle(p_values, usual, least, most) for most in BOUNDS if most >= 2 * least]
        best = max(found or [_middle(p_values, usual, least, (1 + least) / 2)])
        # scores of windows spread little, so that a shift takes most of them past the threshold:
        # then it shows in how the few others stand among each other
        among = 1.0 if alike == 1 else 1 - _share(p_values, least)
        return cls(alarms, best[1] / max(among, 1e-12), best[0] / alike**0.5)

    @property
    def moved(self) -> bool:
        """Whether the records that do not alarm have moved, too: then it is a shift."""
        return self.errors >= CLEAR and self.unusual >= LEAST_UNUSUAL * self.alarms


def _share(p_values: Floats, most: float) -> float:
    return float((p_values < most * (1 + 1e-9)).mean())


def _middle(p_values: Floats, usual: Floats, least: float, most: float) -> tuple[float, float]:
    """Return by how much more records lie between two p-values than usual, among those beyond the
    first: in standard errors, and as a share of all.
    """
    beyond, usual_beyond = 1 - _share(p_values, least), 1 - _share(usual, least)
    if not beyond or not usual_beyond:
        return 0.0, 0.0
    here = 1 - (1 - _share(p_values, most)) / beyond
    there = 1 - (1 - _share(usual, most)) / usual_beyond
    sizes = 1 / (len(p_values) * beyond) + 1 / (len(usual) * usual_beyond)
    error = max(there * (1 - there) * sizes, 1e-12) ** 0.5
    return (here - there) / error, (here - there) * beyond


def beyond_chance(change: Change) -> float:
    """Return how many records too many score high, at the rate where they are most; 0 if chance
    explains all of them at every rate.
    """
    old, records, most = change.old, len(change.p_values), 0.0
    alike = change.alike.alarms
    ranks = [allowed_rank(change.alpha, old.n)]
    while ranks[-1] > alike:  # the highest scores of neighbours are worth one
        ranks.append(ranks[-1] // 2)
    for rank in ranks:
        rate = rank / (old.n + 1)
        law = change.old_law(rate)
        alarms = int(old.alarms(change.p_values, rate).sum())
        chance = Chance(math.ceil(records / alike), law.high, law.n)
        if alarms / alike > chance.quantile(1 - TAIL / len(ranks)):
            most = max(most, alarms - records * law.mean)
    return most


def added(change: Change) -> float:
    """Return how many records the new calibration would learn that were added to the end; 0 if it
    is a shift, or if they are too few to matter.

    They matter where normal records would alarm more seldom than the new interval says.
    """
    excess = beyond_chance(change)
    if excess <= change.room or Excess.of(change).moved:
        return 0.0
    return excess


def added_since(change: Change) -> float:
    """Return how many records were added beside the traffic before, see `added`.

    The traffic before is often more records than the old calibration, so that a smaller excess
    shows. Where the threshold does not rise nothing is learned.
    """
    before = change.before.scores
    if allowed_rank(change.alpha, len(before)) < 1:
        return 0.0
    if change.threshold(change.new) <= change.threshold(change.old):
        return 0.0
    return added(replace(change, old=Calibration(np.sort(before), change.alpha, SPLIT)))
