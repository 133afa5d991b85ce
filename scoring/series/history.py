"""records of entities, as they come -> runs of full windows.

A history holds the last W - 1 records of each entity, as features: what a new record is judged
with. Training, batch and service share it. A record that is late or repeated, and one without a
full window, is an outcome here and no error: see `Standing`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.series.window import ONE, StillColumns, Window

NEVER = np.iinfo(np.int64).min  # the moment of a record that is not there


class Standing(StrEnum):
    """How a record stands to the history of its entity.

    Only a record with a full window is judged. One that is older than the newest record of its
    entity is late; one of the same moment is repeated. Both are left out of the history. One of an
    entity that the artifact does not know is `new_entity`, see `vaewatch.scoring.series.settling`;
    one whose verdict is that of a change that lasts is `lasting`, see
    `vaewatch.scoring.series.lasting`.
    """

    FULL = "full"
    WARMING_UP = "warming_up"
    LATE = "late"
    REPEATED = "repeated"
    LASTING = "lasting"
    NEW_ENTITY = "new_entity"


STANDINGS = tuple(Standing)  # the index of each stands for it in an array
_FULL, _WARMING_UP, _LATE, _REPEATED, *_ = range(len(STANDINGS))


@dataclass(frozen=True)
class Arrivals:
    """N records of any entities, in the order that they came.

    Attributes:
        entities: of each record; None where there is one series.
        moments: (N,) microseconds since 1970.
        values: (N, D) features.
        unseen: (N, C), whether a column holds a value that the fit data never had.
    """

    entities: Sequence[str] | None
    moments: NDArray[np.int64]
    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """Consecutive records of one entity, of which the last n have full windows.

    Attributes:
        rows: (n,) the indices of these records among the arrivals.
        values: (W - 1 + n, D) features; unseen: (W - 1 + n, C).
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]

    def any_unseen(self) -> NDArray[np.bool_]:
        """(n,): whether a record of each window holds an unseen value."""
        if not np.count_nonzero(self.unseen):
            return np.zeros(len(self.rows), bool)
        size = len(self.values) - len(self.rows) + 1
        within = np.concatenate([[0], np.cumsum(self.unseen.any(1))])
        return np.asarray(within[size:] > within[:-size])

    def newest_unseen(self) -> NDArray[np.int64]:
        """(n,): how many values of each window's newest record are unseen."""
        return np.asarray(self.unseen[-len(self.rows) :].sum(1))


@dataclass(frozen=True)
class Taken:
    """What became of N arrivals.

    Attributes:
        standings: (N,) indices in STANDINGS.
        runs: the records with full windows.
        gaps: pauses that were longer than the window's gap.
        evicted: entities that had to leave, to keep within the memory.
    """

    standings: NDArray[np.int8]
    runs: tuple[Run, ...]
    gaps: int
    evicted: int


@dataclass
class Past:
    """The newest records of one entity: at most W - 1 since the last gap.

    last: the moment of the newest. values: (k, D); unseen: (k, C).
    """

    last: int
    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]


@dataclass
class History:
    """The newest records of at most `most` entities; the least recently seen ones leave once the
    records of a call are taken in. `lasting`: their newest alarms.
    """

    window: Window
    most: int | None = None
    pasts: OrderedDict[str, Past] = field(default_factory=OrderedDict)
    lasting: Lasting = field(init=False)
    still: StillColumns | None = field(init=False)

    def __post_init__(self) -> None:
        self.still = StillColumns.of(self.window.still)
        self.lasting = Lasting(self.window, self.most)

    def __len__(self) -> int:
        return len(self.pasts)

    def keys(self, entities: Sequence[str] | None) -> Sequence[str] | None:
        """Return the names under which the records of entities are kept: their own."""
        return entities

    def copy(self) -> History:
        """Return the history as it is: what comes later does not change it."""
        found = History(self.window, self.most, OrderedDict(self.pasts))  # pasts are replaced
        found.lasting.keep(self.lasting.kept())
        return found

    def add(self, arrivals: Arrivals) -> Taken:
        """Take records in, and return those that have full windows now."""
        standings = np.full(len(arrivals.moments), _WARMING_UP, np.int8)
        runs: list[Run] = []
        gaps = 0
        for entity, rows in _by_entity(arrivals):
            past = self.pasts.get(entity)
            if len(rows) == 1:
                stretches = self._next(past, arrivals, rows[0], standings)
            else:
                stretches = self._stretches(past, arrivals, np.array(rows), standings)
            if stretches:
                gaps += len(stretches) - 1 + (past is not None and not stretches[0].continues)
                runs += [run for stretch in stretches if (run := self._run(stretch))]
                newest = int(arrivals.moments[stretches[-1].rows[-1]])
                self.pasts[entity] = self._past(stretches[-1], newest)
            if entity in self.pasts:
                self.pasts.move_to_end(entity)
        evicted = self._evict()
        for run in runs:
            standings[run.rows] = _FULL
        return Taken(standings, tuple(runs), gaps, evicted)

    def _next(
        self, past: Past | None, arrivals: Arrivals, row: int, standings: NDArray[np.int8]
    ) -> list[_Stretch]:
        """Do as `_stretches` does with the only record of an entity, at a third of the cost."""
        since = 0 if past is None else int(arrivals.moments[row]) - past.last
        if past is not None and since <= 0:
            standings[row] = _LATE if since < 0 else _REPEATED
            return []
        values, unseen = arrivals.values[row : row + 1], arrivals.unseen[row : row + 1]
        continues = past is not None and since <= self.window.gap
        if self.window.pace is not None:
            pace = np.zeros(1, np.float32)
            if continues:
                pace = self.window.pace.feature(np.array([since]), self.window.step)
            values = np.concatenate([values, pace[:, None]], axis=1)
        if past is not None and continues:
            values = np.concatenate([past.values, values])
            unseen = np.concatenate([past.unseen, unseen])
        if self.still is not None:
            unseen = self.still.mark(values, unseen, 1)
        return [_Stretch(np.array([row]), values, unseen, continues)]

    def _stretches(
        self,
        past: Past | None,
        arrivals: Arrivals,
        rows: NDArray[np.int64],
        standings: NDArray[np.int8],
    ) -> list[_Stretch]:
        """Part an entity's records, (n,), where a pause is longer than the gap; mark the late and
        the repeated ones, and leave them out.
        """
        kept, since = _in_order(past, arrivals.moments[rows], rows, standings)
        if not len(kept):
            return []
        anew = since > self.window.gap
        anew[0] |= past is None
        starts = np.flatnonzero(anew).tolist()
        bounds = sorted({0, *starts}) + [len(kept)]
        values = arrivals.values[kept]
        if self.window.pace is not None:
            pace = self.window.pace.feature(since, self.window.step)
            pace[anew] = 0.0  # as usual, since there is no record before
            values = np.column_stack([values, pace])
        unseen = arrivals.unseen[kept]
        out = []
        for a, b in zip(bounds, bounds[1:], strict=False):
            continues = not anew[a]
            own = values[a:b], unseen[a:b]
            if continues and past is not None:
                own = np.concatenate([past.values, own[0]]), np.concatenate([past.unseen, own[1]])
            if self.still is not None:
                own = own[0], self.still.mark(*own, b - a)
            out.append(_Stretch(kept[a:b], *own, continues))
        return out

    def _run(self, stretch: _Stretch) -> Run | None:
        full = len(stretch.values) - (self.window.size - 1)
        if full <= 0:
            return None
        return Run(stretch.rows[-full:], stretch.values, stretch.unseen)

    def _past(self, stretch: _Stretch, last: int) -> Past:
        keep = slice(max(0, len(stretch.values) - (self.window.size - 1)), None)
        return Past(last, stretch.values[keep].copy(), stretch.unseen[keep].copy())

    def _evict(self) -> int:
        evicted = 0
        while self.most is not None and len(self.pasts) > self.most:
            self.pasts.popitem(last=False)
            evicted += 1
        return evicted


@dataclass(frozen=True)
class _Stretch:
    """Records of one entity without a gap, after those of before that they continue."""

    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    continues: bool


def _by_entity(arrivals: Arrivals) -> Iterable[tuple[str, list[int]]]:
    """Return each entity and the rows of its records, in order; the one seen last comes last."""
    n = len(arrivals.moments)
    if arrivals.entities is None:
        return [(ONE, list(range(n)))] if n else []
    places: dict[str, list[int]] = {}
    for row, entity in enumerate(arrivals.entities):
        places.setdefault(entity, []).append(row)
    if len(places) == n:  # one record each, and so in order
        return places.items()
    return sorted(places.items(), key=lambda place: place[1][-1])


def _in_order(
    past: Past | None,
    moments: NDArray[np.int64],
    rows: NDArray[np.int64],
    standings: NDArray[np.int8],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mark the late and the repeated among an entity's records, (n,); return the others, and the
    microseconds since the record before each.
    """
    newest = np.maximum.accumulate(np.concatenate([[past.last if past else NEVER], moments]))
    before = newest[:-1]
    standings[rows[moments < before]] = _LATE
    standings[rows[moments == before]] = _REPEATED
    fresh = moments > before
    kept, before = rows[fresh], before[fresh]
    return kept, np.where(
        before == NEVER, 0, moments[fresh] - np.where(before == NEVER, 0, before)
    )


FEW = 4  # windows of a run; so few are judged one by one, many together share their records
MOST_TOGETHER = 256  # windows a pass, so that activations stay in the cache
MOST_RECORDS = 4096  # a pass
MOST_NUMBERS = 1 << 22  # of all windows of a pass, so that wide ones do not fill the memory


def tiles(
    runs: Sequence[Run], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield, for windows of `size` records, the rows of at most MOST_TOGETHER windows and their
    records, (B, T, D): B stretches of T records, whose windows are all judged.
    """
    pieces: dict[int, list[tuple[Run, int]]] = {}  # by how many windows they have
    for run in runs:
        n = len(run.rows)
        most = _most(size * run.values.shape[1]) if n >= FEW else 1
        for start in range(0, n, most):
            pieces.setdefault(min(most, n - start), []).append((run, start))
    for n, alike in pieces.items():
        fitting = _most(size * alike[0][0].values.shape[1]) // n
        count = max(1, min(fitting, MOST_RECORDS // (n + size - 1)))
        for first in range(0, len(alike), count):
            some = alike[first : first + count]
            rows = np.concatenate([run.rows[start : start + n] for run, start in some])
            records = [run.values[start : start + n + size - 1] for run, start in some]
            yield rows, np.stack(records)


def _most(numbers: int) -> int:
    """Return how many windows of so many numbers one pass takes."""
    return max(1, min(MOST_TOGETHER, MOST_NUMBERS // max(numbers, 1)))
