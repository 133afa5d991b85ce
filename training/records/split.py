"""n records -> Split: those to fit to, and those held out to calibrate."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.training.streams import Stream, stream

HELD_OUT = 20_000  # records that a split calibration holds out
SPLIT_FROM = 2 * HELD_OUT  # fewer than this: all fit, and calibrate on their out-of-bag scores


@dataclass(frozen=True)
class Split:
    """Indices of the records to fit to, and of those held out; cross-fitting holds none out.

    trimmed: suspects that are not fitted to; they calibrate if no records are held out.
    """

    fit: NDArray[np.int64]
    held_out: NDArray[np.int64]
    trimmed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rule(self) -> str:
        return "split" if len(self.held_out) else "cross-fitted"

    @property
    def calibrates(self) -> int:
        return len(self.held_out) or len(self.fit)

    @property
    def calibration(self) -> NDArray[np.int64]:
        """Indices of the records whose scores calibrate, the suspects left out."""
        return self.held_out if len(self.held_out) else self.fit


def split_records(n: int, seed: int, members: int) -> Split:
    """Split by seed alone: the same n and seed give the same split."""
    least = 2 * members  # two a fold
    if n < least:
        raise SchemaError(f"training takes at least {least} normal records, got {n}.")
    held_out = HELD_OUT if n >= SPLIT_FROM else 0
    order = stream(seed, Stream.SPLIT).permutation(n)
    return Split(np.sort(order[held_out:]), np.sort(order[:held_out]))
