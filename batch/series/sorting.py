"""all chunks of a job -> their records in order of entity and time -> what became of each chunk's.

The input is read twice: here, to hold the features of all records in memory, and then to write the
rows, which come out in the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.series.followed import Followed, Selection, spread
from vaewatch.batch.series.in_order import followed_of
from vaewatch.scoring.series.history import Arrivals, History, Run, Taken
from vaewatch.scoring.series.window import Window

Key = tuple[int, int]  # of a chunk: its file, by its index, and the place at which it ends
NOT_FULL = -1


@dataclass(frozen=True)
class _Part:
    """The records of one chunk among all: those from `start` on that are `mine`, (N,)."""

    start: int
    mine: NDArray[np.bool_]


@dataclass(frozen=True)
class Sorted:
    """The records of a job, (M,), taken into a history in order of entity and time.

    standings: of each record, in the order of the input. run, at: the run that a record with a
    full window is in, and its place there; NOT_FULL for any other.
    """

    parts: dict[Key, _Part]
    standings: NDArray[np.int8]
    runs: tuple[Run, ...]
    run: NDArray[np.int64]
    at: NDArray[np.int64]
    size: int
    gaps: int
    entities: int

    @classmethod
    def of(cls, selection: Selection, window: Window, chunks: Iterable[FileChunk]) -> Sorted:
        """Read all chunks."""
        parts, found, start = dict[Key, _Part](), list[Arrivals](), 0
        for one in chunks:
            records = one.parsed()
            mine = selection.mine(records)
            parts[_key(one)] = _Part(start, mine)
            found.append(selection.arrivals(records, np.flatnonzero(mine)))
            start += int(mine.sum())
        history = History(window)
        if not found:
            none = np.empty(0, np.int64)
            return cls(parts, none.astype(np.int8), (), none, none, window.size, 0, 0)
        order, arrivals = _in_order(found)
        taken = history.add(arrivals)
        standings = np.empty(start, np.int8)
        standings[order] = taken.standings
        run, at = np.full(start, NOT_FULL), np.full(start, NOT_FULL)
        for number, each in enumerate(taken.runs):
            own = order[each.rows]
            run[own], at[own] = number, np.arange(len(own))
        totals = taken.gaps, len(history)
        return cls(parts, standings, taken.runs, run, at, window.size, *totals)

    def follow(self, chunks: Iterable[FileChunk]) -> Iterator[FileChunk]:
        """Yield each chunk with what became of its records."""
        for one in chunks:
            yield replace(one, followed=self._followed(one))

    def _followed(self, one: FileChunk) -> Followed:
        part = self.parts[_key(one)]
        rows = np.flatnonzero(part.mine)
        own = slice(part.start, part.start + len(rows))
        first = part.start == 0 and len(rows) > 0  # counts what concerns the job as a whole
        runs = tuple(self._runs(self.run[own], self.at[own]))
        taken = Taken(self.standings[own], runs, self.gaps if first else 0, 0)
        taken = spread(taken, rows, len(part.mine))
        return followed_of(one, None, taken, part.mine, self.entities if first else 0)

    def _runs(self, run: NDArray[np.int64], at: NDArray[np.int64]) -> Iterator[Run]:
        """Yield the runs of (n,) records, which are in these places of these runs."""
        order = np.lexsort([at, run])
        order = order[run[order] != NOT_FULL]
        run, at = run[order], at[order]
        breaks = np.flatnonzero((np.diff(run) != 0) | (np.diff(at) != 1)) + 1
        for some in np.split(np.arange(len(order)), breaks):
            if len(some):
                whole, first = self.runs[run[some[0]]], int(at[some[0]])
                span = slice(first, first + len(some) + self.size - 1)
                yield Run(order[some], whole.values[span], whole.unseen[span])


def _key(one: FileChunk) -> Key:
    return one.at, one.chunk.end.offset


def _in_order(found: list[Arrivals]) -> tuple[NDArray[np.int64], Arrivals]:
    """Return the order of the records of all chunks by entity and time, and as they came where
    these are the same, (M,); and the records in it.
    """
    moments = np.concatenate([each.moments for each in found])
    names = None
    codes = np.zeros(len(moments), np.int64)
    if found[0].entities is not None:
        names = [name for each in found for name in each.entities or ()]
        known: dict[str, int] = {}
        for name in names:
            known.setdefault(name, len(known))
        codes = np.fromiter((known[name] for name in names), np.int64, len(names))
    order = np.lexsort([moments, codes])
    values = np.concatenate([each.values for each in found])[order]
    unseen = np.concatenate([each.unseen for each in found])[order]
    entities = None if names is None else [names[i] for i in order.tolist()]
    return order, Arrivals(entities, moments[order], values, unseen)
