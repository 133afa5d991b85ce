"""fit records -> Windows: every full window, and which of them are apart in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.history import Run
from vaewatch.scoring.series.window import hide_first_pace


@dataclass(frozen=True)
class Windows:
    """M full windows of W records, run after run, each run in order of time.

    Attributes:
        moments: (N,) of the records whose rows the runs name.
        owners: (runs,) the entity of each run, as a number.
        paced: whether the last number of a record is the pace, see `hide_first_pace`.
        owned: (D,) the column of each number of a record; None where each has its own.
    """

    size: int
    runs: Sequence[Run]
    moments: NDArray[np.int64]
    owners: NDArray[np.int64]
    paced: bool = False
    owned: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def column_of(self) -> NDArray[np.int64]:
        """(D,) the column of each number of a record."""
        return np.arange(self.runs[0].values.shape[1]) if self.owned is None else self.owned

    @property
    def columns(self) -> int:
        """How many columns vary, the pace left aside."""
        return len(np.unique(self.column_of[: len(self.column_of) - self.paced]))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(runs + 1,) the first window of each run, and M."""
        return np.cumsum([0, *(len(run.rows) for run in self.runs)])

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(M,) the record that each window judges: its last."""
        return np.concatenate([run.rows for run in self.runs])

    @cached_property
    def run_of(self) -> NDArray[np.int64]:
        """(M,) the run of each window."""
        return np.repeat(np.arange(len(self.runs)), np.diff(self.starts))

    def take(self, windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n,) windows -> their records, (n, W, D)."""
        if not len(windows):
            return np.empty((0, self.size, self.runs[0].values.shape[1]), np.float32)
        out = np.empty((len(windows), self.size, self.runs[0].values.shape[1]), np.float32)
        runs = self.run_of[windows]
        for run in np.unique(runs):
            own = np.flatnonzero(runs == run)
            values = np.lib.stride_tricks.sliding_window_view(
                self.runs[run].values, self.size, axis=0
            )
            out[own] = values[windows[own] - self.starts[run]].swapaxes(1, 2)
        if self.paced:
            hide_first_pace(out)
        return out

    def folds(self, count: int) -> NDArray[np.int64]:
        """(M,) the block of time, of `count`, in which each window ends. All entities together:
        what happens at one time is alike.
        """
        ends = self.moments[self.rows]
        order = np.argsort(ends, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        return rank * count // max(len(rank), 1)

    def folds_of_entities(self, count: int, seed: int) -> NDArray[np.int64]:
        """(M,) the fold, of `count`, of each window: whole entities, dealt at random."""
        names, place = np.unique(self.owners, return_inverse=True)
        dealt = np.random.default_rng(seed).permutation(len(names)) % count
        return np.asarray(dealt[place][self.run_of])

    def beside(self, folds: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
        """(M, count): which windows share a record with a window of a fold that is not theirs."""
        out = np.zeros((len(self), count), bool)
        reach = self.size - 1
        for start, end in zip(self.starts, self.starts[1:], strict=False):
            own = folds[start:end, None] == np.arange(count)
            inside = np.concatenate([np.zeros((1, count), np.int64), np.cumsum(own, 0)])
            at = np.arange(end - start)
            low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, end - start)
            out[start:end] = inside[high] > inside[low]
        out[np.arange(len(self)), folds] = False
        return out
