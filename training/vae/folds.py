"""records, members -> Folds: which of the fit records each member sees.

The members that serve see all fit records. The others leave out one fold each, and judge it: their
residuals on records that they did not see shape the score (see
`vaewatch.training.calibration.out_of_bag`), at no cost to the members that serve. Where one that
should serve lags, the best of the judges serves in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


def served_members(members: int, served: int) -> list[int]:
    """Return the indices of the members that serve, evenly spread."""
    return [i * members // served for i in range(served)]


@dataclass(frozen=True)
class Folds:
    """of: (N,) each fit record's fold. judges: (F,) the member that leaves out each fold.
    serving: the members that serve. beside: (N, F) which records of other folds a judge leaves
    out, too, since they overlap with its own or are to be judged by it; None if there are none.
    """

    of: NDArray[np.int64]
    judges: NDArray[np.int64]
    serving: list[int]
    members: int
    beside: NDArray[np.bool_] | None = None

    @classmethod
    def draw(cls, n: int, members: int, served: int, seed: int) -> Folds:
        """Draw folds of n records that differ by at most one in size."""
        serving = served_members(members, served)
        judges = np.setdiff1d(np.arange(members), serving)
        folds = np.random.default_rng(seed).permutation(n) % len(judges)
        return cls(folds, judges, serving, members)

    @classmethod
    def in_order(cls, rank: NDArray[np.int64], members: int, served: int) -> Folds:
        """Make folds that are blocks of time, given each record's rank, (N,), by time.

        What comes at the same time is alike, so that a judge that saw a record's neighbours would
        have seen half of it. The judge of the last block saw nothing that came after its past.
        """
        serving = served_members(members, served)
        judges = np.setdiff1d(np.arange(members), serving)
        return cls(rank * len(judges) // max(len(rank), 1), judges, serving, members)

    def without(self, rows: NDArray[np.int64], fold: int) -> Folds:
        """Return the folds, the judge of one of them seeing none of these records, either."""
        beside = np.zeros((len(self.of), len(self.judges)), np.bool_)
        beside[rows, fold] = True
        return replace(self, beside=beside)

    def at(self, place: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the folds, (M,), of places in the order of the records: 0 is the first, 1 the
        last.
        """
        count = len(self.judges)
        return np.clip((place * count).astype(np.int64), 0, count - 1)

    @property
    def judge(self) -> NDArray[np.int64]:
        """(N,): the member that did not see each record."""
        return self.judges[self.of]

    def exchanged(self, a: int, b: int) -> Folds:
        """Return the folds after members a and b have changed places."""
        judges = self.judges.copy()
        judges[self.judges == a], judges[self.judges == b] = b, a
        return replace(self, judges=judges)

    def seen(self) -> list[NDArray[np.int64]]:
        """Return, for each member, the indices of the records that it sees."""
        seen = self.judge != np.arange(self.members)[:, None]
        if self.beside is not None:
            seen[self.judges] &= ~self.beside.T
        return [np.flatnonzero(own) for own in seen]
