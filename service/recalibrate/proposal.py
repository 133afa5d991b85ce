"""change -> Proposal: what a recalibration would do, in numbers and in words, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import (
    SEVERITIES,
    Calibration,
    count_severities,
    severity,
)
from vaewatch.scoring.stream.martingale import EVIDENCE
from vaewatch.service.recalibrate.body import Excluded
from vaewatch.service.recalibrate.change import Change
from vaewatch.service.recalibrate.excess import Excess
from vaewatch.service.recalibrate.refusals import Refused, refusals_of
from vaewatch.service.recalibrate.sample import Period
from vaewatch.service.recalibrate.segments import Renewed, SegmentChange

LATE = 0.1  # of the records: the last ones
LEAST_MINUTES = 60  # of a time that holds more than one mood of the traffic
MOST_COLUMNS = 10

State = Literal["proposed", "refused", "applied", "reverted"]


class Drift(Struct):
    """A column whose recent values differ much from those of the drift reference."""

    column: str
    psi: float
    by_chance: Annotated[float, Meta(description="Mean PSI while nothing has changed.")]


class Evidence(Struct):
    """What else the service knows of a change, over all workers and since the model was loaded."""

    exchangeability_log10: Annotated[
        float, Meta(description="The test martingale; chance exceeds 2 in at most 1% of streams.")
    ]
    columns: Annotated[list[Drift], Meta(description="Columns that have changed, most first.")]


class Side(Struct):
    """How the records of the sample are judged: each by the calibration of its segment, where the
    artifact has a segment.
    """

    threshold: Annotated[
        float, Meta(description="Score in nats from which records alarm; that of the pooled one.")
    ]
    alarms: Annotated[int, Meta(description="Alarms among the `n` records.")]
    rate: Annotated[float, Meta(description="Their share.")]
    late_rate: Annotated[float, Meta(description="The share among the last tenth of them.")]
    old_scores_rate: Annotated[
        float, Meta(description="The share among the scores of the old calibration.")
    ]
    severities: Annotated[
        list[int], Meta(description="Records up to each of `severity_bounds`; the last is open.")
    ]
    incidents_per_day: Annotated[
        float | None,
        Meta(
            description="Incidents among the records, for each entity and day; null where the "
            "artifact has no window."
        ),
    ] = None


class Proposal(Struct, kw_only=True):
    """A recalibration that can be applied, or that was."""

    id: str
    state: Annotated[
        State,
        Meta(
            description="`refused`: it takes force to apply it. One that has expired keeps its "
            "state, and cannot be applied."
        ),
    ]
    created_at: Annotated[str, Meta(description="ISO 8601, UTC.")]
    expires_at: Annotated[str, Meta(description="Until when it can be applied.")]
    key: Annotated[str | None, Meta(description="Name of the key that asked for it.")]
    forced: bool
    parent: Annotated[str, Meta(description="Version of the artifact that it would replace.")]
    version: Annotated[
        str | None, Meta(description="Version of the new artifact, once it is applied.")
    ] = None
    since: str
    until: str
    exclude: list[Excluded]
    left_out: Annotated[
        int, Meta(description="Records of confirmed incidents; they are not among `records`.")
    ] = 0
    excluded: Annotated[
        int, Meta(description="Records in the minutes of `exclude`; not among `records` either.")
    ] = 0
    records: Annotated[
        int,
        Meta(
            description="Records of that time, counted exactly; where not all are kept, those "
            "of confirmed incidents among them are estimated."
        ),
    ]
    n: Annotated[int, Meta(description="Records that calibrate: a uniform sample of them.")]
    blocks: Annotated[
        int | None,
        Meta(
            description="How many independent records the `n` are worth, where the artifact has a "
            "window; null where it has none."
        ),
    ] = None
    alpha: float
    rate_interval_95: Annotated[
        list[float],
        Meta(
            description="Range of the true alarm rate by the new calibration, at 95%, of "
            "records such as these."
        ),
    ]
    before: Side
    after: Side
    factor: Annotated[
        float | None,
        Meta(
            description="How many times as far the threshold would lie from the old median "
            "score; null where the old one lies at it."
        ),
    ]
    severity_bounds: tuple[float, ...] = SEVERITIES
    evidence: Evidence
    contamination: Annotated[
        str, Meta(description="What anomalies among the records do, in a few sentences.")
    ]
    warnings: list[str]
    refusals: list[Refused]
    segments: Annotated[
        list[SegmentChange],
        Meta(
            description="What changes for each segment, that with most records first; empty where "
            "the artifact has no segment."
        ),
    ] = []


@dataclass(frozen=True)
class Provenance:
    """Where a proposal comes from. moment: now, in Unix seconds. lives: seconds until it
    expires.
    """

    id: str
    moment: float
    lives: float
    key: str | None
    forced: bool
    parent: str
    period: Period


def proposal_of(
    change: Change, evidence: Evidence, origin: Provenance, renewed: Renewed | None = None
) -> Proposal:
    """Describe a change, and judge it. `renewed`: what it does to segments, if there are any."""
    period, factor = origin.period, change.factor
    refusals = refusals_of(change, explained=renewed is not None and renewed.explains)
    if renewed is None:
        p_values = [by.p_values(change.drawn.scores) for by in (change.old, change.new)]
    else:
        p_values = renewed.p_values
    before, after = _side(change, change.old, p_values[0]), _side(change, change.new, p_values[1])
    return Proposal(
        id=origin.id,
        state="refused" if refusals else "proposed",
        created_at=iso(origin.moment),
        expires_at=iso(origin.moment + origin.lives),
        key=origin.key,
        forced=origin.forced,
        parent=origin.parent,
        since=iso(period.over.since),
        until=iso(period.over.until),
        exclude=[Excluded(iso(span.since), iso(span.until)) for span in period.without],
        left_out=change.drawn.left_out,
        excluded=change.drawn.excluded,
        records=change.drawn.records,
        n=change.new.n,
        blocks=None if change.neighbours is None else change.blocks,
        alpha=change.new.alpha,
        rate_interval_95=[*change.law.interval()],
        before=before,
        after=after,
        factor=factor if np.isfinite(factor) else None,
        evidence=evidence,
        contamination=_contamination(change.alpha, before.rate),
        warnings=[*_warnings(change, evidence), *(renewed.warnings() if renewed else ())],
        refusals=refusals,
        segments=renewed.changes() if renewed else [],
    )


def iso(seconds: float) -> str:
    """Return a moment in UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _late(n: int) -> int:
    return max(1, int(LATE * n))


def _side(change: Change, by: Calibration, p_values: NDArray[np.float64]) -> Side:
    alarms = by.alarms(p_values, change.alpha)
    own = by.alarms(by.p_values(change.old.scores), change.alpha)
    return Side(
        threshold=change.threshold(by),
        alarms=int(alarms.sum()),
        rate=float(alarms.mean()),
        late_rate=float(alarms[-_late(len(alarms)) :].mean()),
        old_scores_rate=float(own.mean()),
        severities=count_severities(severity(p_values)).tolist(),
        incidents_per_day=change.incidents_per_day(by),
    )


def _contamination(alpha: float, rate: float) -> str:
    """Say what anomalies among the records do to the new budget, at worst. `rate`: before."""
    excess = min(max(0.0, (rate - alpha) / (1 - alpha)), 1.0)
    text = (
        f"The records that alarm count as well: without them normal records would alarm at up to "
        f"{alpha + rate:.2g}. Anomalies among the records can only lower the rate of normal ones."
    )
    if not excess:
        return f"{text} No more alarm than the old calibration allows."
    left = max(0.0, (alpha - excess) / (1 - excess)) if excess < 1 else 0.0
    text += (
        f" If anomalies alone made the excess, {excess:.2%} of the records, normal ones would "
        f"alarm at {left:.2g} instead of {alpha:g}"
    )
    if excess <= alpha:
        return f"{text}, and these anomalies still would."
    return f"{text}, and at most {alpha / excess:.0%} of these anomalies still would."


def _warnings(change: Change, evidence: Evidence) -> Sequence[str]:
    found, at = [], change.drawn.at
    minutes = int(at[-1] - at[0]) // 60 + 1
    if minutes < LEAST_MINUTES:
        span = "one minute" if minutes == 1 else f"{minutes} minutes"
        found.append(f"The records are those of {span}: other hours may be different.")
    late = change.alarms(change.new)[-_late(len(at)) :]
    if int(late.sum()) > change.expected(len(late)).high:
        found.append(
            f"The change goes on: of the last {len(late):,} records {late.mean():.2%} would still "
            "alarm. Take a shorter time, or recalibrate again soon."
        )
    if evidence.exchangeability_log10 < EVIDENCE and not Excess.of(change).errors > 2:
        found.append("There is little evidence that records have changed at all.")
    if evidence.columns:
        names = ", ".join(f"'{drift.column}'" for drift in evidence.columns[:3])
        found.append(
            f"The values of {names} have changed much. If one has broken, mend what feeds it. "
            "The drift reference stays as it is: only scores are kept here. vaewatch recalibrate "
            "makes a new one from records."
        )
    return found
