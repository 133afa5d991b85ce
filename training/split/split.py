"""n records -> Split: those to fit to, and those held out to calibrate.

Held out means out of everything: categories, scales, weights, precision and kept records are
learned from the fit records alone. So a record that is held out costs what a new normal record
costs, and the law of the false-alarm rate is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import (
    CROSS_FITTED,
    SPLIT,
    records_for_precision,
)
from vaewatch.scoring.errors import CalibrationError, SchemaError
from vaewatch.training.config import RECENT, TrainConfig
from vaewatch.training.split.order import held_out_blocks, latest
from vaewatch.training.streams import Stream, stream

SHARE = 1 / 8  # of the records: held out where that is enough; it costs no detection
PLENTY = 20_000  # fit records: beyond, those that the interval has a use for are held out
RANK = 5  # calibration records above the threshold, where SHARE gives fewer
MOST_SHARE = 1 / 6  # that are held out for RANK: a quarter would cost detection
LAST_SHARE = 1 / 4  # that are held out to certify alpha at all
WIDE_SHARE = 1 / 2  # of fewer records than columns: their out-of-bag scores are too low
LATER_SHARE = (
    1 / 2
)  # of the new records, where a fit is continued: there are the old ones to fit to
MOST = 20_000  # records that calibrate, unless a narrow interval takes more
MOST_FOR_PRECISION = 100_000
ROUNDING = 1e-6


@dataclass(frozen=True)
class Split:
    """Indices of the records to fit to, and of those held out; cross-fitting holds none out.

    trimmed: suspects that are not fitted to; they calibrate if no records are held out.
    own: records that calibrate their segments: some of those held out, and more of their kind.
    """

    fit: NDArray[np.int64]
    held_out: NDArray[np.int64]
    trimmed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    own: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rule(self) -> str:
        return SPLIT if len(self.held_out) else CROSS_FITTED

    @property
    def calibrates(self) -> int:
        return len(self.held_out) or len(self.fit)

    @property
    def unfitted(self) -> NDArray[np.int64]:
        """Indices of all records that are held out, in order."""
        return np.union1d(self.held_out, self.own) if len(self.own) else self.held_out

    @property
    def calibration(self) -> NDArray[np.int64]:
        """Indices of the records whose scores calibrate, the suspects left out."""
        return self.held_out if len(self.held_out) else self.fit


def split_records(
    n: int, columns: int, config: TrainConfig, times: NDArray[np.int64] | None = None
) -> Split:
    """Split by size, alpha and seed alone: the same three give the same split.

    With the (N,) times of the records, whole blocks of time are held out. What chooses them looks
    at nothing else of a record, so that the law stays exact for records that are exchangeable.
    """
    least = 2 * config.members  # two a fold
    if n < least:
        raise SchemaError(f"training takes at least {least} normal records, got {n}.")
    held_out = calibration_size(n, config.alpha, columns)
    if times is not None and (held_out or config.calibrate == RECENT):
        return _split_by_time(times, held_out, config)
    order = stream(config.seed, Stream.SPLIT).permutation(n)
    return Split(np.sort(order[held_out:]), np.sort(order[:held_out]))


def _split_by_time(times: NDArray[np.int64], size: int, config: TrainConfig) -> Split:
    rng = stream(config.seed, Stream.SPLIT)
    if config.calibrate != RECENT:
        chosen = held_out_blocks(times, size, rng)
    elif size:
        chosen = latest(times, size, rng)
    else:
        needed = math.ceil(records_for(1, config.alpha) / LAST_SHARE)
        raise CalibrationError(
            f"--calibrate recent takes at least {needed:,} records at alpha {config.alpha:g}, got "
            f"{len(times):,}: the latest of them are held out. Give more, or ask for a larger "
            "alpha."
        )
    return Split(np.flatnonzero(~chosen), np.flatnonzero(chosen))


def recent_size(n: int, alpha: float) -> int:
    """Return how many of n records are the latest share, which calibrates; at least enough to
    certify alpha, if there are so many.
    """
    return calibration_size(n, alpha, columns=0) or min(n, records_for(1, alpha))


def calibration_size(n: int, alpha: float, columns: int) -> int:
    """Return how many of n records are held out; none where a quarter cannot certify alpha, or
    half of fewer records than columns.

    With k that may alarm it is k / alpha: with fewer, one less may, and with more, the mean rate
    k / (size + 1) falls below alpha. More than MOST calibrate only if as many are fitted to.
    """
    if records_for(1, alpha) > n * (LAST_SHARE if columns <= n else WIDE_SHARE):
        return 0
    wanted = min(max(n * SHARE, records_for(RANK, alpha)), n * MOST_SHARE)
    useful = records_for_precision(alpha)
    most = max(MOST, min(useful, (n - PLENTY) / 2, MOST_FOR_PRECISION))
    size = min(max(wanted, min(useful, n - PLENTY)), most)
    return records_for(max(1, rank_of(alpha, size)), alpha)


def rank_of(alpha: float, size: float) -> int:
    """Return how many of `size` calibration records may alarm; there are only whole ones."""
    return math.floor(alpha * math.floor(size) + ROUNDING)


def records_for(rank: int, alpha: float) -> int:
    """Return how many calibration records it takes that `rank` of them may alarm."""
    return math.ceil(rank / alpha - ROUNDING)


def split_later(
    known: NDArray[np.bool_], config: TrainConfig, times: NDArray[np.int64] | None = None
) -> Split:
    """Split N records given which of them, (N,), are those of a fit that is continued: its weights
    have seen them, so that only others can be held out, half of these at most. With the (N,)
    times, whole blocks of these are, or the latest ones.

    Raises:
        CalibrationError: the others are too few to certify alpha.
    """
    alpha = config.alpha
    new, enough = np.flatnonzero(~known), calibration_size(len(known), alpha, columns=0)
    size = min(enough or math.ceil(1 / alpha), len(new) * LATER_SHARE)
    rank = rank_of(alpha, size)
    if rank < 1:
        raise CalibrationError(
            f"alpha {alpha:g} takes at least {math.ceil(records_for(1, alpha) / LATER_SHARE):,} "
            "records beside those of the artifact whose fit is continued, got "
            f"{len(new):,}: half of them calibrate. Give more new ones, or ask for a larger alpha."
        )
    held_out = records_for(rank, alpha)
    rng = stream(config.seed, Stream.SPLIT)
    if times is None:
        order = rng.permutation(new)
    else:
        choose = latest if config.calibrate == RECENT else held_out_blocks
        chosen = choose(times[new], held_out, rng)
        order = np.concatenate([new[chosen], new[~chosen]])
    fit = np.concatenate([np.flatnonzero(known), order[held_out:]])
    return Split(np.sort(fit), np.sort(order[:held_out]))
