"""chunks of files, in order -> chunks with what became of their records in the history.

Which records are judged, and with which before them, is decided here: in order, and in one place.
What takes the time, the network's pass and the encoding, is left to others: each chunk carries all
that it needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.series.followed import Followed, Selection, spread
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.series.history import STANDINGS, History, Standing, Taken

_OUT_OF_ORDER = [STANDINGS.index(each) for each in (Standing.LATE, Standing.REPEATED)]


@dataclass
class InOrder:
    """Takes chunks into a history as they come.

    past: the history after each chunk that was handed out, oldest first, if these are kept.
    written: that after the last one that was written.
    """

    selection: Selection
    history: History
    keep: bool = False
    past: deque[History] = field(default_factory=deque)
    written: History | None = None

    def follow(self, chunks: Iterable[FileChunk]) -> Iterator[FileChunk]:
        """Yield each chunk with what became of its records."""
        for one in chunks:
            records = one.source.parse(one.chunk)
            followed = self._take(one, records)
            if self.keep:
                self.past.append(self.history.copy())
            yield replace(one, followed=followed, records=records)

    def _take(self, one: FileChunk, records: Records) -> Followed:
        mine = self.selection.mine(records)
        rows, held = np.flatnonzero(mine), len(self.history)
        taken = self.history.add(self.selection.arrivals(records, rows))
        come = len(self.history) - held + taken.evicted
        return followed_of(one, records, spread(taken, rows, len(mine)), mine, come)


def followed_of(
    one: FileChunk, records: Records | None, taken: Taken, mine: NDArray[np.bool_], entities: int
) -> Followed:
    """Count what became of a chunk's records; `entities` came into the history with them."""
    rows, first = np.flatnonzero(mine), None
    astray = rows[np.isin(taken.standings[rows], _OUT_OF_ORDER)]
    if len(astray) and records is not None:
        first = one.at, int(one.lines(records)[astray[0]])
    counts = replace(SeriesCounts.of(taken, rows), entities=entities, first=first)
    return Followed(taken, mine, counts)
