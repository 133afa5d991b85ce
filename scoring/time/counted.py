"""times, alarms -> counts in order of time, and where they are cut into blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 10  # the last ones, that are shown
LEAST = 10  # records of a block


@dataclass(frozen=True)
class BySlot:
    """Records by time and by the slot of the calibration that judges them, each (M,)."""

    times: NDArray[np.int64]
    slots: NDArray[np.int64]
    records: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        times: NDArray[np.int64],
        slots: NDArray[np.int64],
        records: NDArray[np.int64] | None = None,
    ) -> BySlot:
        """Count (N,) times and slots, each as often as `records` says, or once."""
        pairs, place = np.unique(np.stack([times, slots]), axis=1, return_inverse=True)
        counts = np.zeros(pairs.shape[1], np.int64)
        np.add.at(counts, place, 1 if records is None else records)
        return cls(pairs[0], pairs[1], counts)

    def __add__(self, other: BySlot) -> BySlot:
        return BySlot.of(
            np.concatenate([self.times, other.times]),
            np.concatenate([self.slots, other.slots]),
            np.concatenate([self.records, other.records]),
        )

    def between(self, first: int, last: int, slots: int) -> list[int]:
        """Return the records of each slot from a first to a last time."""
        rows = slice(*self.times.searchsorted([first, last + 1]))
        counts = np.zeros(slots, np.int64)
        np.add.at(counts, self.slots[rows], self.records[rows])
        return [int(count) for count in counts]


@dataclass(frozen=True)
class Counted:
    """Records and alarms by time.

    times: (T,) microseconds since 1970, ascending. records, alarms: (T,) at each of these.
    slots: the calibrations that judge them, where there are several.
    """

    times: NDArray[np.int64]
    records: NDArray[np.int64]
    alarms: NDArray[np.int64]
    slots: BySlot | None = None

    @classmethod
    def of(
        cls,
        times: NDArray[np.int64],
        alarms: NDArray[np.bool_],
        slots: NDArray[np.int64] | None = None,
    ) -> Counted:
        """Count N records with their times, which may come in any order, and the (N,) slots of the
        calibrations that judge them.
        """
        moments, place = np.unique(times, return_inverse=True)
        records = np.bincount(place, minlength=len(moments))
        own = np.bincount(place, alarms.astype(np.float64), minlength=len(moments))
        judged = None if slots is None else BySlot.of(times, slots)
        return cls(moments, records.astype(np.int64), np.rint(own).astype(np.int64), judged)

    def by_slot(self, start: int, end: int, slots: int) -> list[int]:
        """Return how many records each slot judges, of the moments from `start` to `end`."""
        if self.slots is None:
            return [int(self.records[start:end].sum())]
        return self.slots.between(int(self.times[start]), int(self.times[end - 1]), slots)

    def cuts(self, blocks: int = BLOCKS) -> NDArray[np.int64]:
        """Return where each block begins among the moments, and where the last one ends."""
        total = np.cumsum(self.records)
        n = int(total[-1]) if len(total) else 0
        wanted = max(1, min(blocks, n // LEAST))
        inner = np.searchsorted(total, n * np.arange(1, wanted) / wanted, side="left") + 1
        return np.unique(np.concatenate([[0], inner[inner < len(total)], [len(total)]]))
