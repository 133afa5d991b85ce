"""Split, segments -> Split: held-out records for the calibration of each segment.

The pooled calibration stays the uniform sample that `split` draws, so its law stays exact for a
random record: records that are held out of every segment alike, up to what each of them needs,
would count small segments too often. Of each segment more are held out beside those that the
uniform sample has of it, and these alone are left out of the pooled calibration.

How many more may depend on the other records alone. If it filled up what the uniform sample
happens to lack, the records that are fitted to would depend on those that calibrate, and these
would no longer be exchangeable with new ones. So the number is large enough for a sample that has
few. A segment's own calibration takes as many of both as k / alpha; which ones is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.training.config import RECENT, TrainConfig
from vaewatch.training.split.split import (
    LATER_SHARE,
    ROUNDING,
    Split,
    calibration_size,
    rank_of,
    records_for,
)
from vaewatch.training.streams import Stream, stream

DEVIATIONS = 3.0  # below its mean: as few of a segment the uniform sample may have
SPANS = 10  # of time, in each of which a segment that is spread over time has records
THIN = 0.5  # of its mean number in a span: with fewer it is not spread


def hold_out_segments(
    split: Split,
    groups: NDArray[np.int64],
    config: TrainConfig,
    known: NDArray[np.bool_] | None = None,
    times: NDArray[np.int64] | None = None,
) -> Split:
    """Return the split with records of each segment held out for its own calibration.

    Args:
        groups: (N,) the segment of each record; -1 for none.
        known: (N,) records that cannot be held out, where a fit is continued.
        times: (N,) moments; then blocks of time are held out, or the latest records where the
            settings ask for recent ones.
    """
    alpha, seed = config.alpha, config.seed
    if not len(split.held_out):  # every fit record calibrates, and so does every one of a segment
        return split
    latest = times if config.calibrate == RECENT else None
    rng = stream(seed, Stream.SEGMENTS)
    pooled = np.zeros(len(groups), np.bool_)
    pooled[split.held_out] = True
    free = ~pooled if known is None else ~pooled & ~known
    left = int(free.sum())
    spans = None if times is None else _spans(times[free], len(times), free)
    chosen = []
    for group in np.unique(groups[groups >= 0]).tolist():
        rest = np.flatnonzero(free & (groups == group))
        old = 0 if known is None else int((known & (groups == group)).sum())
        drawn = rng.permutation(rest)
        sampled = rng.permutation(np.flatnonzero(pooled & (groups == group)))
        if latest is not None:
            drawn = drawn[np.argsort(-latest[drawn], kind="stable")]
        sampled_evenly = spans is None or _is_spread(spans[rest])
        more = drawn[
            : _more(Rest(len(rest), left, len(split.held_out), old, sampled_evenly), alpha)
        ]
        both = np.concatenate([more, sampled])
        if latest is not None:
            both = both[np.argsort(-latest[both], kind="stable")]
        chosen.append(both[: _usable(len(both), alpha)])
    own = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))
    fit = split.fit[~np.isin(split.fit, own)]
    return replace(split, fit=fit, own=own)


@dataclass(frozen=True)
class Rest:
    """What the uniform sample of `held_out` records left: `own` of the segment, of `all` records.

    old: records of the segment that cannot be held out. evenly: whether the sample has about the
    segment's share; blocks of time may have none of one that comes in a short time alone.
    """

    own: int
    all: int
    held_out: int
    old: int
    evenly: bool = True

    @property
    def expected(self) -> float:
        """The mean number of the segment's records in the uniform sample."""
        return self.held_out * self.own / self.all

    @property
    def fewest(self) -> int:
        """As few as the sample may have."""
        if not self.evenly:
            return 0
        share = self.own / self.all
        deviation = math.sqrt(self.expected * (1 - share) * (1 + self.held_out / self.all))
        return math.floor(max(self.expected - DEVIATIONS * deviation, 0.0) + ROUNDING)


def _spans(moments: NDArray[np.int64], n: int, free: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Cut the moments of the free ones of N records into spans of as many records, (N,)."""
    spans = np.zeros(n, np.int64)
    order = np.argsort(moments, kind="stable")
    spans[np.flatnonzero(free)[order]] = np.arange(len(order)) * SPANS // max(len(order), 1)
    return spans


def _is_spread(spans: NDArray[np.int64]) -> bool:
    """Return whether records with these spans come in all of time."""
    counts = np.bincount(spans, minlength=SPANS)
    return bool(counts.min() >= THIN * counts.mean())


def _more(rest: Rest, alpha: float) -> int:
    """Return how many records of a segment are held out beside those of the uniform sample."""
    total = math.floor(rest.own + rest.expected + ROUNDING)
    wanted = calibration_size(total + rest.old, alpha, columns=0)
    if rest.old:
        most = total * LATER_SHARE
        wanted = records_for(rank_of(alpha, min(wanted or math.ceil(1 / alpha), most)), alpha)
    return min(max(wanted - rest.fewest, 0), rest.own)


def _usable(n: int, alpha: float) -> int:
    """Return how many of n records a calibration takes: those of the largest k / alpha, beyond
    which the mean rate would only fall.
    """
    rank = rank_of(alpha, n)
    return records_for(rank, alpha) if rank else n * (allowed_rank(alpha, n) >= 1)
