"""all chunks of a job -> their records in order of entity and time -> what became of each chunk's.

The input is read twice: here, to hold the features of all records in memory, and then to write the
rows, which come out in the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.series.followed import Followed, Selection, spread
from vaewatch.batch.series.in_order import followed_of
from vaewatch.batch.series.judging import WindowStage
from vaewatch.batch.stage import Engine, Stage
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.series.history import STANDINGS, Arrivals, History, Run, Standing, Taken
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.settling import settled
from vaewatch.scoring.verdicts import Verdicts

Key = tuple[int, int]  # of a chunk: its file, by its index, and the place at which it ends
NOT_FULL = -1
PIECE = 4096  # windows that are judged together


@dataclass(frozen=True)
class _Part:
    """The records of one chunk among all: those from `start` on that are `mine`, (N,)."""

    start: int
    mine: NDArray[np.bool_]


@dataclass(frozen=True)
class Sorted:
    """The records of a job, (M,), taken into a history in order of entity and time.

    taken: what became of them, in the order of the input but for the runs. verdicts: on each, in
    that order, without reasons. run, at: the run that a record with a full window is in, and its
    place there; NOT_FULL for any other. entities: there are so many. explain: whether all records
    get reasons, not only anomalies.
    """

    parts: dict[Key, _Part]
    taken: Taken
    verdicts: Verdicts
    run: NDArray[np.int64]
    at: NDArray[np.int64]
    entities: int
    explain: bool

    @classmethod
    def of(
        cls, selection: Selection, stage: Stage, engine: Engine, chunks: Iterable[FileChunk]
    ) -> Sorted:
        """Read all chunks, and judge their records in order."""
        scorer, job = stage.scorer, stage.job
        parts, found, start = dict[Key, _Part](), list[Arrivals](), 0
        for one in chunks:
            records = one.parsed()
            mine = selection.mine(records)
            parts[_key(one)] = _Part(start, mine)
            found.append(selection.arrivals(records, np.flatnonzero(mine)))
            start += int(mine.sum())
        order, arrivals = _in_order(found)
        taken, held = _taken(arrivals, scorer.artifact)
        run, at = np.full(start, NOT_FULL), np.full(start, NOT_FULL)
        for number, each in enumerate(taken.runs):
            own = order[each.rows]
            run[own], at[own] = number, np.arange(len(own))
        verdicts = _judged(taken, arrivals, WindowStage(scorer, job, 0), engine)
        places = np.empty(start, np.int64)
        places[order] = np.arange(start)
        whole = Taken(taken.standings[places], taken.runs, taken.gaps, 0)
        return cls(parts, whole, verdicts[places], run, at, held, bool(stage.explain))

    def follow(self, chunks: Iterable[FileChunk]) -> Iterator[FileChunk]:
        """Yield each chunk with what became of its records."""
        for one in chunks:
            yield replace(one, followed=self._followed(one))

    def _followed(self, one: FileChunk) -> Followed:
        part = self.parts[_key(one)]
        rows, n = np.flatnonzero(part.mine), len(part.mine)
        own = slice(part.start, part.start + len(rows))
        first = part.start == 0 and len(rows) > 0  # counts what concerns the job as a whole
        verdicts, run = self.verdicts[own], self.run[own]
        explained = run if self.explain else np.where(verdicts.is_anomaly, run, NOT_FULL)
        runs = tuple(self._runs(explained, self.at[own]))
        taken = Taken(self.taken.standings[own], runs, self.taken.gaps if first else 0, 0)
        followed = followed_of(
            one, None, spread(taken, rows, n), part.mine, self.entities if first else 0
        )
        return replace(followed, known=_spread(verdicts, rows, n))

    def _runs(self, run: NDArray[np.int64], at: NDArray[np.int64]) -> Iterator[Run]:
        """Yield the runs of (n,) records, which are in these places of these runs."""
        order = np.lexsort([at, run])
        order = order[run[order] != NOT_FULL]
        run, at = run[order], at[order]
        breaks = np.flatnonzero((np.diff(run) != 0) | (np.diff(at) != 1)) + 1
        for some in np.split(np.arange(len(order)), breaks):
            if len(some):
                whole, first = self.taken.runs[run[some[0]]], int(at[some[0]])
                yield _cut(whole, first, order[some])


def _cut(run: Run, first: int, rows: NDArray[np.int64]) -> Run:
    """Return a part of a run, from its window `first` on, whose windows get these rows."""
    span = slice(first, first + len(rows) + len(run.values) - len(run.rows))
    return Run(rows, run.values[span], run.unseen[span])


def _taken(arrivals: Arrivals, artifact: Artifact) -> tuple[Taken, int]:
    """Return what a history makes of all records, and the number of entities."""
    assert artifact.window is not None  # only then records are sorted
    history = History(artifact.window)
    return history.add(arrivals), len(history)


def _judged(taken: Taken, arrivals: Arrivals, work: WindowStage, engine: Engine) -> Verdicts:
    """Judge all records, in order of entity and time."""
    n, calibration = len(arrivals.moments), work.scorer.artifact.calibration
    score, p_value, severity = np.full((3, n), np.nan)
    pieces = list(_pieces(taken.runs))
    given = (piece for _, piece in pieces)
    with closing(engine(given, work)) as found:
        for (rows, _), one in zip(pieces, found, strict=True):
            score[rows], p_value[rows], severity[rows] = one.score, one.p_value, one.severity
    verdicts = Verdicts(
        score=score,
        p_value=p_value,
        severity=severity,
        is_anomaly=calibration.alarms(p_value, work.cut),
        reasons=[()] * n,
        history=[STANDINGS[code].value for code in taken.standings.tolist()],
    )
    artifact = work.scorer.artifact
    assert artifact.window is not None
    lasting = Lasting(artifact.window)
    place = arrivals.entities, arrivals.moments
    return settled(artifact, verdicts, *place, lasting, work.cut)


def _pieces(runs: Iterable[Run]) -> Iterator[tuple[NDArray[np.int64], Taken]]:
    """Yield the rows of some thousand windows at a time, and these as a history takes them."""
    some, count = list[Run](), 0
    for run in runs:
        for first in range(0, len(run.rows), PIECE):
            part = run.rows[first : first + PIECE]
            some.append(_cut(run, first, part))
            count += len(part)
            if count >= PIECE:
                yield _piece(some)
                some, count = [], 0
    if some:
        yield _piece(some)


def _piece(runs: list[Run]) -> tuple[NDArray[np.int64], Taken]:
    rows = np.concatenate([run.rows for run in runs])
    ends = np.cumsum([len(run.rows) for run in runs]).tolist()
    own = [
        replace(run, rows=np.arange(end - len(run.rows), end))
        for run, end in zip(runs, ends, strict=True)
    ]
    standings = np.full(len(rows), STANDINGS.index(Standing.FULL), np.int8)
    return rows, Taken(standings, tuple(own), 0, 0)


def _spread(verdicts: Verdicts, rows: NDArray[np.int64], n: int) -> Verdicts:
    """Put verdicts in their rows, of n in all; the others are those of no record."""
    if len(rows) == n:
        return verdicts
    places = np.full(n, len(rows))
    places[rows] = np.arange(len(rows))
    nan, words = np.array([np.nan]), verdicts.history or ()
    return Verdicts(
        score=np.append(verdicts.score, nan)[places],
        p_value=np.append(verdicts.p_value, nan)[places],
        severity=np.append(verdicts.severity, nan)[places],
        is_anomaly=np.append(verdicts.is_anomaly, False)[places],
        reasons=[()] * n,
        history=[(*words, Standing.WARMING_UP.value)[place] for place in places.tolist()],
    )


def _key(one: FileChunk) -> Key:
    return one.at, one.chunk.end.offset


def _in_order(found: list[Arrivals]) -> tuple[NDArray[np.int64], Arrivals]:
    """Return the order of the records of all chunks by entity and time, and as they came where
    these are the same, (M,); and the records in it.
    """
    if not found:
        none = np.empty((0, 0))
        order = np.empty(0, np.int64)
        return order, Arrivals(None, order, none.astype(np.float32), none.astype(bool))
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
