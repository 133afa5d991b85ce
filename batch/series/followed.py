"""What became of a chunk's records: all that it takes to judge them, anywhere and in any order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.series.history import STANDINGS, Arrivals, Standing, Taken
from vaewatch.scoring.series.judge import arrivals_of
from vaewatch.scoring.verdicts import Verdicts

_WARMING_UP = STANDINGS.index(Standing.WARMING_UP)


@dataclass(frozen=True)
class Followed:
    """What became of a chunk's records.

    taken: of all rows of the chunk's table.
    mine: (N,) the rows that the job scores: sound ones, of its shard.
    counts: of these.
    known: the verdicts on all rows, but for their reasons, where they were made before; then the
        runs of `taken` are those of records that get reasons.
    """

    taken: Taken
    mine: NDArray[np.bool_]
    counts: SeriesCounts
    known: Verdicts | None = None


@dataclass(frozen=True)
class Selection:
    """Chooses the records that a job scores, and gives them as a history takes them.

    shard: (i, n) for the entities of shard i of n; None for all.
    """

    vectorizer: Vectorizer
    shard: tuple[int, int] | None = None

    def mine(self, records: Records) -> NDArray[np.bool_]:
        """(N,) which rows of a table are scored."""
        names = records.table.entities
        if self.shard is None or names is None:
            return records.good
        i, n = self.shard
        own = {name: crc32(name.encode()) % n == i for name in set(names)}
        in_shard = np.fromiter((own[name] for name in names), bool, len(names))
        return np.asarray(records.good & in_shard)

    def arrivals(self, records: Records, rows: NDArray[np.int64]) -> Arrivals:
        table = records.table
        return arrivals_of(self.vectorizer, table if len(rows) == len(table) else table.take(rows))


def spread(taken: Taken, rows: NDArray[np.int64], n: int) -> Taken:
    """Put what became of some rows, (m,), in the places that they have among n."""
    if len(rows) == n:
        return taken
    standings = np.full(n, _WARMING_UP, np.int8)
    standings[rows] = taken.standings
    runs = tuple(replace(run, rows=rows[run.rows]) for run in taken.runs)
    return replace(taken, standings=standings, runs=runs)
