"""change -> why it must not be learned: too few records, too far a move, or an attack.

Scores alone cannot tell an anomaly from a new kind of normal record, but they can tell whether all
of traffic has moved. A shift moves the whole distribution: of the records that do not alarm, more
are unusual as well. A flood only adds records to the end of it, and leaves those that do not alarm
as they were; then the old calibration still holds for normal records, and there is nothing to
follow: a threshold that rises above records that have not moved learns the flood. It also shows in
time, beside the traffic before, and within the time that is asked for, where its alarms stand
close together.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.service.recalibrate.burst import burst_of
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.excess import added, added_since

LEAST_ABOVE = 10  # records at or above the threshold: the interval is then 0.5 to 1.7 times alpha
MOST_FACTOR = 2.0  # times as far as before may the threshold lie from the old median score
ROUNDING = 1e-9  # of a factor, so that the unit of scores decides nothing


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
    before; if not, its scores may differ from the pooled ones without any change, and only its own
    traffic before can show one.
    """
    severe = _severe(change) if known else _severe_since(change)
    found = (_far(change) if known else None, severe, _burst(change))
    return [reason for reason in found if reason is not None]


def _few(change: Change) -> Refused | None:
    if change.neighbours is not None:
        return _few_blocks(change)
    if change.old.entities is not None:
        return Refused(
            "few",
            f"{change.old.entities.count:,} entities that the fit never saw calibrate the model, "
            "and traffic does not say whose its records are: each would count as of another one. "
            "Run vaewatch recalibrate on records with the column of entities.",
        )
    above, n = allowed_rank(change.new.alpha, change.new.n), change.new.n
    if above >= LEAST_ABOVE:
        return None
    low, high = change.law.interval()
    return Refused(
        "few",
        f"At alpha {change.new.alpha:g} it takes {int(LEAST_ABOVE / change.new.alpha):,} records, "
        f"got {n:,}: the true rate would lie anywhere from {low:.2g} to {high:.2g}. Take a longer "
        "time, or wait.",
    )


def _few_blocks(change: Change) -> Refused | None:
    """Refuse if neighbouring records are worth too few independent ones, and fewer than those of
    the old calibration: to follow must not make a budget much less certain.
    """
    blocks, old = change.blocks, int(change.old.n / change.alike.alarms)
    if allowed_rank(change.new.alpha, blocks) >= LEAST_ABOVE or blocks >= old:
        return None
    low, high = change.law.interval()
    needed = min(int(LEAST_ABOVE / change.new.alpha), old)
    return Refused(
        "few",
        f"At alpha {change.new.alpha:g} it takes {needed:,} independent blocks, got {blocks:,}, "
        f"of {change.new.n / blocks:,.0f} records each that are alike: the true rate would lie "
        f"anywhere from {low:.2g} to {high:.2g}. Take a longer time, or wait.",
    )


def _far(change: Change) -> Refused | None:
    factor = change.factor
    most = MOST_FACTOR * (1 + ROUNDING)
    if 1 / most <= factor <= most:
        return None
    again = "continue its fit (vaewatch train --from)"
    if change.neighbours is not None:
        again = "train again on old and new records"
    return Refused(
        "far",
        f"The threshold would lie {factor:.2g} times as far from the usual score as it does; "
        f"{1 / MOST_FACTOR:g} to {MOST_FACTOR:g} times may be followed. Records have changed too "
        f"much for this network: {again}, or mend what feeds it.",
    )


def _severe(change: Change) -> Refused | None:
    """Refuse if more records alarm than by chance, but the others are as they were."""
    excess = added(change)
    return _refused(excess, "the old calibration") if excess else _severe_since(change)


def _severe_since(change: Change) -> Refused | None:
    excess = added_since(change)
    return _refused(excess, "the time before") if excess else None


def _refused(excess: float, reference: str) -> Refused:
    return Refused(
        "severe",
        f"About {excess:,.0f} records too many score high beside {reference}, but those that do "
        "not alarm have hardly changed. That is no shift of the whole, but looks like records "
        "added to its end, as by an attack. For normal records the calibration may still hold. "
        "Look at the alarms first.",
    )


def _burst(change: Change) -> Refused | None:
    """Refuse if the alarms by the new calibration stand close together in time."""
    found = burst_of(change)
    if found is None:
        return None
    return Refused(
        "burst",
        f"{found.share:.0%} of the alarms that the new calibration leaves are too many for their "
        f"time, from {utc(found.since)} to {utc(found.until)}. If that was an incident, leave it "
        "out (exclude); if records have changed to stay, take only the time since then.",
    )


def utc(seconds: float) -> str:
    """Return a moment as ISO 8601, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
