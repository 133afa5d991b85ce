"""change -> why it must not be learned: too few records, too far a move, or an attack.

Scores alone cannot tell an anomaly from a new kind of normal record, but they can tell whether all
of traffic has moved. A shift moves the whole distribution: of the records that do not alarm, more
are unusual as well. A flood only adds records to the end of it, and leaves those that do not alarm
as they were; then the old calibration still holds for normal records, and there is nothing to
follow. A flood that is over, or has just begun, also shows in time: its alarms stand close
together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.service.recalibrate.change import Change, most_by_chance
from vaewatch.service.watch.scores import MINUTE

LEAST_ABOVE = 10  # records at or above the threshold: the interval is then 0.5 to 1.7 times alpha
MOST_FACTOR = 2.0  # times as far as before may the threshold lie from the old median score
CLEAR = 3.0  # standard errors of the change among the records that do not alarm
LEAST_UNUSUAL = 0.5  # of the excess of alarms: so many more must be unusual without alarming
APART = 2.0  # times alpha: records below are neither alarms nor close to them
BOUNDS = (0.1, 0.2, 0.35, 0.5)  # p-values up to which records that do not alarm are unusual
MOST_IN_BURSTS = 0.2  # of the alarms by the new calibration
SPANS, LEAST_SPANS, ALARMS_A_SPAN = 48, 5, 4
LOUD, LOUD_ERRORS = 3.0, 4.0  # times the alarms of a usual span, and standard errors above it


class Refused(msgspec.Struct, frozen=True):
    """Why a proposal can only be applied by force. `code`: 'few', 'far', 'severe' or 'burst'."""

    code: str
    text: str


def refusals_of(change: Change, *, explained: bool = False) -> list[Refused]:
    """Return all that speaks against a change; nothing of one that may be applied.

    explained: whether shifts of single segments make the excess of alarms, each by itself.
    """
    severe = None if explained else _severe(change)
    found = (_few(change), _far(change), severe, _burst(change))
    return [reason for reason in found if reason is not None]


def refusals_of_segment(change: Change, *, known: bool) -> list[Refused]:
    """Return what speaks against a segment's own change.

    That it has enough records is another question. known: whether it had a calibration of its own
    before; if not, its scores may differ from the pooled ones without any change.
    """
    found = (_far(change), _severe(change), _burst(change)) if known else (_burst(change),)
    return [reason for reason in found if reason is not None]


def _few(change: Change) -> Refused | None:
    above, n = allowed_rank(change.new.alpha, change.new.n), change.new.n
    if above >= LEAST_ABOVE:
        return None
    low, high = change.new.rate_law().interval()
    return Refused(
        "few",
        f"At alpha {change.new.alpha:g} it takes {int(LEAST_ABOVE / change.new.alpha):,} records, "
        f"got {n:,}: the true rate would lie anywhere from {low:.2g} to {high:.2g}. Take a longer "
        "time, or wait.",
    )


def _far(change: Change) -> Refused | None:
    factor = change.factor
    if 1 / MOST_FACTOR <= factor <= MOST_FACTOR:
        return None
    return Refused(
        "far",
        f"The threshold would lie {factor:.2g} times as far from the usual score as it does; "
        f"{1 / MOST_FACTOR:g} to {MOST_FACTOR:g} times may be followed. Records have changed too "
        "much for this network: continue its fit (vaewatch train --from), or mend what feeds it.",
    )


@dataclass(frozen=True)
class Excess:
    """By how much the sample exceeds the old calibration's own scores, as shares of all records.

    alarms: among those that alarm. unusual: among those that do not, but are unusual.
    errors: of `unusual`, in standard errors.
    """

    alarms: float
    unusual: float
    errors: float

    @classmethod
    def of(cls, change: Change) -> Excess:
        """Compare up to the bound at which the unusual ones stand out most."""
        p_values, own = change.p_values, change.own_p_values
        alarms = _share(p_values, change.alpha) - _share(own, change.alpha)
        least = APART * change.alpha
        found = [_middle(p_values, own, least, most) for most in BOUNDS if most >= 2 * least]
        best = max(found or [_middle(p_values, own, least, (1 + least) / 2)])
        return cls(alarms, best[1], best[0])


def _share(p_values: NDArray[np.float64], most: float) -> float:
    return float((p_values < most * (1 + 1e-9)).mean())


def _middle(
    p_values: NDArray[np.float64], own: NDArray[np.float64], least: float, most: float
) -> tuple[float, float]:
    """Return by how much more records lie between two p-values than by the old calibration, among
    those beyond the first: in standard errors, and as a share of all.
    """
    beyond, own_beyond = 1 - _share(p_values, least), 1 - _share(own, least)
    if not beyond or not own_beyond:
        return 0.0, 0.0
    here = 1 - (1 - _share(p_values, most)) / beyond
    usual = 1 - (1 - _share(own, most)) / own_beyond
    variance = usual * (1 - usual) * (1 / (len(p_values) * beyond) + 1 / (len(own) * own_beyond))
    error = max(variance, 1e-12) ** 0.5
    return (here - usual) / error, (here - usual) * beyond


def exceeds(change: Change) -> bool:
    """Whether more records alarm by the old calibration than chance explains."""
    alarms, law = change.alarms(change.old), change.old.rate_law(change.alpha)
    return int(alarms.sum()) > most_by_chance(len(alarms), law)


def _severe(change: Change) -> Refused | None:
    """Refuse if more records alarm than by chance, but the others are as they were."""
    if not exceeds(change):
        return None
    excess = Excess.of(change)
    if excess.errors >= CLEAR and excess.unusual >= LEAST_UNUSUAL * excess.alarms:
        return None
    return Refused(
        "severe",
        f"{change.alarms(change.old).mean():.2%} of the records alarm, but those that do not have "
        "hardly changed. That is no shift of the whole, but looks like records added to its end, "
        "as by an attack. "
        "For normal records the calibration may still hold. Look at the alarms first.",
    )


def _burst(change: Change) -> Refused | None:
    """Refuse if the alarms by the new calibration stand close together in time."""
    alarms = change.alarms(change.new)
    if len(alarms) < LEAST_SPANS:
        return None
    total = int(alarms.sum())
    spans = int(np.clip(total // ALARMS_A_SPAN, LEAST_SPANS, SPANS))
    starts = np.arange(spans) * len(alarms) // spans  # as many records in each
    counts = np.add.reduceat(alarms.astype(np.int64), starts)
    sizes = np.diff([*starts, len(alarms)])
    usual = sizes * max(float(np.median(counts / sizes)), change.alpha / 4)
    loud = (counts > LOUD * usual) & (counts - usual > LOUD_ERRORS * np.sqrt(usual + 1))
    share = float((counts - usual)[loud].sum()) / max(total, 1)
    if share <= MOST_IN_BURSTS:
        return None
    at = change.drawn.at
    first = at[starts[loud][0]]
    last = at[(starts + sizes - 1)[loud][-1]] + MINUTE
    return Refused(
        "burst",
        f"{share:.0%} of the alarms that the new calibration leaves are too many for their time, "
        f"from {utc(first)} to {utc(last)}. If that was an incident, leave it out (exclude); if "
        "records have changed to stay, take only the time since then.",
    )


def utc(seconds: float) -> str:
    """Return a moment as ISO 8601, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
