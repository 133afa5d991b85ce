"""Calibration -> its summary for people, as the manifest holds it."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from vaewatch.scoring.budget.calibration import (
    CROSS_FITTED,
    SPLIT,
    Calibration,
    block_law,
    records_for_precision,
    records_needed,
    round_up,
)
from vaewatch.scoring.budget.summary import CalibrationSummary, SegmentSummary, UnseenPasses

SHOWN_ALPHAS = (0.05, 0.01, 0.001)
COMMON_ALPHAS = (0.1, *SHOWN_ALPHAS)
ASSUMES = (
    "New normal records are exchangeable with the calibration records: drawn from the same "
    "source, in any order. "
    "After a change in the source the rate is no longer promised: train again, or at least "
    "recalibrate, on recent records."
)
CONTAMINATION = (
    "Anomalies among the calibration records hold the highest scores, so normal records alarm "
    "more seldom than asked, and fewer anomalies are found. --contamination-robust keeps suspects "
    "out of the fit, not out of the calibration: without them, normal records would alarm more "
    "often than asked."
)
RULES = {
    SPLIT: "The records were held out of everything that was learned, so the interval is exact.",
    CROSS_FITTED: "There were too few records to hold any out: each was scored by a member that "
    "did not see it. New records cost a little less, as the members that serve saw more, so the "
    "rate may be lower than asked: the interval begins at 0.",
}

NEIGHBOURS = (
    "The scores of neighbouring windows are alike, so that the interval is that of as many "
    "records as there are independent blocks."
)
WINDOWS_RULES = {
    SPLIT: f"The records were held out of everything that was learned. {NEIGHBOURS}",
    CROSS_FITTED: "Each block of time was scored by a member, and compared with kept windows, "
    f"that share no record with it. {NEIGHBOURS} It begins at 0, as what serves saw more.",
}
BOTH = "It begins at 0, as a record must be an anomaly by the calibration of the others, too."
ENTITIES_RULES = {
    SPLIT: f"The records are of entities that the fit never saw. {NEIGHBOURS} {BOTH}",
    CROSS_FITTED: "Each entity was scored by a member, and compared with kept windows, that saw "
    f"none of its records. {NEIGHBOURS} {BOTH}",
}
WHOLE_ENTITIES = (
    "The records are of entities that the fit never saw. Those of one entity are alike, so that "
    "the interval is that of as many records as they are worth."
)
ENTITIES_ASSUME = (
    "New entities are exchangeable with those of the fit data: they differ from these as these "
    "differ from one another. After a change in the source the rate is no longer promised; train "
    "again."
)
WINDOWS_ASSUME = (
    "New spans of time are exchangeable with those of the fit data: a normal week is like those "
    "before. After a change in the source the rate is no longer promised; train again."
)


def describe_blocks(
    calibration: Calibration, blocks: int, *, by_entity: bool = False
) -> CalibrationSummary:
    """Return the calibration summary of windows; see `block_law`.

    by_entity: whether what scored them saw none of their entity, so that alpha is that of others.
    """
    summary, alpha = describe(calibration), calibration.alpha
    rules = ENTITIES_RULES if by_entity else WINDOWS_RULES
    low, high = block_law(calibration, alpha, blocks).interval()
    alike = calibration.n / blocks  # neighbours that are worth one
    return replace(
        summary,
        rule_means=rules[calibration.rule],
        assumes=ENTITIES_ASSUME if by_entity else WINDOWS_ASSUME,
        rate_interval_95=(0.0 if by_entity else low, high),
        records_for_20_percent=round(records_for_precision(alpha) * alike),
        reachable=None,
    )


def describe(
    calibration: Calibration,
    segments: tuple[SegmentSummary, ...] = (),
    unseen: float | None = None,
) -> CalibrationSummary:
    """Return the calibration summary of the manifest.

    unseen: nats that an unseen value adds to the score of a single record.
    """
    alpha, n, step = calibration.alpha, calibration.n, calibration.step()
    shown = dict.fromkeys((*SHOWN_ALPHAS, alpha))
    whole = calibration.entities is not None
    return CalibrationSummary(
        n=n,
        rule=calibration.rule,
        rule_means=WHOLE_ENTITIES if whole else RULES[calibration.rule],
        assumes=ENTITIES_ASSUME if whole else ASSUMES,
        contamination=CONTAMINATION,
        rate_interval_95=calibration.rate_law().interval(),
        thresholds={f"{a:g}": calibration.threshold(a) for a in shown},
        least_alpha=1 / (n + 1),
        records_needed={f"{a:g}": records_needed(a) for a in shown},
        records_for_20_percent=round(records_for_precision(alpha) * calibration.alike),
        reachable=(step.rate, step.above) if step else None,
        unseen_passes=None if unseen is None else unseen_passes(calibration, unseen),
        segments=segments,
        entities=calibration.entities,
    )


def unseen_passes(calibration: Calibration, added: float) -> UnseenPasses | None:
    """Say what an unseen value comes to in a usual record; None if that is an alarm.

    A few records that the network could not foretell may score far more than it, and with few
    records in all the threshold lies among them.
    """
    usual = float(np.median(calibration.scores))
    p_values = calibration.p_values(np.array([usual + added]))
    threshold = calibration.threshold(calibration.alpha)
    if calibration.alarms(p_values)[0] or threshold is None:
        return None
    return UnseenPasses(added, usual, threshold, float(p_values[0]))


def words_of_passing(summary: CalibrationSummary, alpha: float) -> str | None:
    """Return what to know and do where an unseen value alone does not alarm; else None."""
    if (found := summary.unseen_passes) is None:
        return None
    raised = f" Rare values in {', '.join(summary.tail)} raise it most." if summary.tail else ""
    return (
        f"at alpha {alpha:g} a value that was never seen does not alarm by itself: it brings a "
        f"usual score of {found.usual:.4g} nats to {found.usual + found.added:.4g}, and the "
        f"threshold is {found.threshold:.4g}.{raised} Give more normal records, "
        f"or ask for alpha {round_up(found.p_value):g} or more."
    )


def shown_alphas(calibration: Calibration) -> list[float]:
    """Return COMMON_ALPHAS and the one asked for, if they can be certified; largest first."""
    every = {*COMMON_ALPHAS, calibration.alpha}
    return sorted((a for a in every if calibration.threshold(a) is not None), reverse=True)
