"""scores and segments -> the records and alarms of each segment, at several alphas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts


@dataclass(frozen=True)
class SegmentReplay:
    """The records of one segment, and their alarms at each alpha; None: without a segment."""

    segment: str | None
    records: int
    alarms: tuple[int, ...]


def replays_of(labels: Sequence[str | None], counts: NDArray[np.int64]) -> list[SegmentReplay]:
    """Return the segments that have records, that with most first, of (codes, 1 + A) counts."""
    found = [
        SegmentReplay(label, own[0], tuple(own[1:]))
        for label, own in zip(labels, counts.tolist(), strict=True)
        if own[0]
    ]
    return sorted(found, key=lambda each: -each.records)


@dataclass(frozen=True)
class Judged:
    """(N,) records by the codes of their segments, and their scores."""

    segments: Segments
    codes: NDArray[np.int32]
    scores: NDArray[np.float64]

    def alarms(self, alpha: float) -> NDArray[np.bool_]:
        """At each alpha, another calibration may judge a record."""
        ranked = self.segments.rank(self.scores, self.codes, alpha)
        return self.segments.pooled.alarms(ranked.p_value, alpha)

    def counts(self, decided: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
        """Count the records and, at each of A alphas, the alarms, (codes, 1 + A)."""
        alarms = [self.segments.count(self.codes[each]) for each in decided]
        return np.stack([self.segments.count(self.codes), *alarms], axis=1)


@dataclass(frozen=True)
class Decided:
    """Of N records, the (N, A) alarms at A alphas. by_segment: counts as `Judged` has them.
    slots: (N,) which calibration judges each at the artifact's alpha; judges: the same at the
    first one. (0, 0) and None without segments.
    """

    alarms: NDArray[np.int64]
    by_segment: NDArray[np.int64]
    slots: NDArray[np.int64] | None
    judges: NDArray[np.int64] | None = None


def decide(
    artifact: Artifact,
    verdicts: Verdicts,
    which: NDArray[np.bool_],
    table: Table,
    alphas: Sequence[float],
) -> Decided:
    """Decide on the records `which` at each alpha: one pass of the network serves them all."""
    segments = artifact.segments
    if segments is None:
        p_values = verdicts.p_value[which]
        alarms = [artifact.calibration.alarms(p_values, alpha) for alpha in alphas]
        none = np.zeros((0, 0), np.int64)
        return Decided(np.stack(alarms, axis=1).astype(np.int64), none, None)
    judged = Judged(segments, segments.codes(table)[which], verdicts.score[which])
    alarms = [judged.alarms(alpha) for alpha in alphas]
    slots, judges = segments.slots(judged.codes), segments.slots(judged.codes, alphas[0])
    decided = np.stack(alarms, axis=1).astype(np.int64)
    return Decided(decided, judged.counts(alarms), slots, judges)
