"""scores in order of time -> Outlook: what a calibration of the past makes of the time after it.

Under a change the promise of a calibration cannot be seen in the calibration itself: its records
and those that alarm come from the same time. So the end of the time is played through. Each of its
blocks is compared with all scores before it. If nothing changes, records and scores are
exchangeable, and the number of alarms in a block is beta-binomial: provided that one and the same
score judges them, and that it was fitted to none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import (
    SPLIT,
    Calibration,
    RateLaw,
    allowed_rank,
    block_law,
)
from vaewatch.scoring.budget.own import calibrate_segments
from vaewatch.scoring.budget.segments import Segments, segment_column
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Laws, Outlook, outlook_of
from vaewatch.scoring.time.counted import BLOCKS, LEAST, Counted
from vaewatch.scoring.time.form import NO_TIME

Scores = NDArray[np.float64]
Codes = NDArray[np.int32]


def rehearse_recent(scores: Scores, table: Table, alpha: float) -> Outlook | None:
    """Calibrate on the earlier half of N held-out scores, and play the later half through."""
    times = table.times
    if times is None:
        return None
    known = np.flatnonzero(times != NO_TIME)
    order = known[np.argsort(times[known], kind="stable")]
    half = len(order) // 2
    past, later = order[:half], order[half:]
    return play(scores[past], scores[later], times[later], alpha, Mix.of(table, past, later))


@dataclass(frozen=True)
class Mix:
    """The segments of the records of the past, and of those that are played, as codes.

    own: the scores of those of the past, if they are not the ones that calibrate all together.
    """

    schema: Schema
    past: Codes
    later: Codes
    own: Scores | None = None

    @classmethod
    def of(
        cls,
        table: Table,
        past: NDArray[np.int64],
        later: NDArray[np.int64],
        own: Scores | None = None,
    ) -> Mix | None:
        """Take those of a table's rows; None without a segment."""
        column = segment_column(table.schema)
        if column is None:
            return None
        codes = table.codes[:, table.schema.place[column.name]]
        return cls(table.schema, codes[past], codes[later], own)

    def in_order(self, order: NDArray[np.int64]) -> Mix:
        """Put those that are played in an order."""
        return replace(self, later=self.later[order])

    def segments(self, pooled: Calibration, past: Scores, played: Scores) -> Segments:
        """Calibrate each segment on its part of the scores of the past and of those that have been
        played so far.
        """
        codes = np.concatenate([self.past, self.later[: len(played)]])
        scores = np.concatenate([past if self.own is None else self.own, played])
        return calibrate_segments(self.schema, codes, scores, pooled)


def play(
    past: Scores,
    scores: Scores,
    times: NDArray[np.int64],
    alpha: float,
    mix: Mix | None = None,
    length: float = 1.0,
) -> Outlook | None:
    """Compare the scores of each block with all before it, those of the past included.

    length: how many neighbours alarm together, where there is no mix: they are worth one record.
    """
    if allowed_rank(alpha, len(past)) < 1 or not len(scores):
        return None
    order = np.argsort(times, kind="stable")
    scores, times = scores[order], times[order]
    mix = None if mix is None else mix.in_order(order)
    moments = Counted.of(times, np.zeros(len(times), bool))
    cuts = moments.cuts(max(1, min(BLOCKS, int(len(scores) / (LEAST * length)))))
    at = np.concatenate([[0], np.cumsum(moments.records)])[cuts]  # among the records
    alarms, laws = np.zeros(len(scores), bool), list[Laws]()
    for start, end in pairwise(at.tolist()):
        before = np.concatenate([past, scores[:start]])
        calibration = Calibration(np.sort(before), alpha, SPLIT)
        if mix is None:
            alarms[start:end] = calibration.alarms(calibration.p_values(scores[start:end]))
            laws.append({0: (_law(calibration, length), end - start)})
        else:
            segments, codes = mix.segments(calibration, past, scores[:start]), mix.later[start:end]
            ranked = segments.rank(scores[start:end], codes)
            alarms[start:end] = calibration.alarms(ranked.p_value)
            laws.append(_laws(segments, ranked.slots))
    return outlook_of(Counted.of(times, alarms), cuts, laws)


def _law(calibration: Calibration, length: float) -> RateLaw:
    if length == 1.0:
        return calibration.rate_law()
    return block_law(calibration, calibration.alpha, max(1, round(calibration.n / length)))


def _laws(segments: Segments, slots: NDArray[np.int64]) -> Laws:
    """Return the law of each calibration that judges some of (N,) slots, by its segment's code; -1
    for the pooled one.
    """
    keys, laws = [-1, *segments.own], segments.laws()
    counts = np.bincount(slots, minlength=len(laws)).tolist()
    both = zip(keys, laws, counts, strict=True)
    return {key: (law, count) for key, law, count in both if count}
