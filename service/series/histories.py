"""requests' records, and those of their entities before them -> verdicts.

`Histories` is what the ways have in common: `Stateless` here, which knows no records but those of
the request, `vaewatch.service.series.memory` and `vaewatch.service.series.shared`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.history import (
    STANDINGS,
    Arrivals,
    History,
    Past,
    Run,
    Standing,
    Taken,
)
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import SECOND
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.model import Model
from vaewatch.service.watch.families.histories import AHEAD, CONTEXT

_FULL, _WARMING_UP = STANDINGS.index(Standing.FULL), STANDINGS.index(Standing.WARMING_UP)


class Judging(Protocol):
    """What a request asks for: `alpha` and `explain` as `Scorer.score_table` takes them, and
    whether only the newest record of each entity is judged.
    """

    @property
    def alpha(self) -> float | None: ...

    @property
    def explain(self) -> int | None: ...

    @property
    def last(self) -> bool: ...


@dataclass(frozen=True)
class Seen:
    """What histories hold, and what became of entities. `held` counts them now; the others are of
    the batch.
    """

    held: int = 0
    gaps: int = 0
    evicted: int = 0
    forgotten: int = 0  # because the artifact has changed


@dataclass(frozen=True)
class Answered:
    """The verdicts on a batch, its table, and what became of the histories."""

    table: Table
    verdicts: Verdicts
    seen: Seen


class Histories(Protocol):
    """What the records of requests are judged with.

    waits: whether judging waits for another process, so that the event loop must not do it.
    """

    waits: bool

    def answer(
        self, model: Model, options: Judging, table: Table, sizes: Sequence[int]
    ) -> Answered:
        """Judge a table, whose first records are those of the first request, `sizes` of them each.

        Only one thread may call this at a time.
        """
        ...


@dataclass
class Ledger(History):
    """A history that notes what becomes of records, and may judge the newest ones alone.

    latest: the last moment that a record may have; those after it are set apart.
    sizes: how many records each request has, whose entities are kept apart; none if they are one.
    """

    latest: int | None = None
    last: bool = False
    sizes: Sequence[int] = ()
    gaps: int = 0
    evicted: int = 0
    context: list[int] = field(default_factory=list)  # rows before the newest of their entities
    ahead: list[int] = field(default_factory=list)  # rows that were set apart

    def keys(self, entities: Sequence[str] | None) -> Sequence[str] | None:
        if len(self.sizes) < 2:
            return entities
        own = repeat("") if entities is None else entities
        of_request = np.repeat(np.arange(len(self.sizes)), self.sizes).tolist()
        return [f"{i}\0{name}" for i, name in zip(of_request, own, strict=False)]

    def add(self, arrivals: Arrivals) -> Taken:
        if self.latest is None or not (far := arrivals.moments > self.latest).any():
            return self.take_in(arrivals)
        self.ahead, rows = np.flatnonzero(far).tolist(), np.flatnonzero(~far)
        taken = self.take_in(_of_rows(arrivals, rows))
        self.context = rows[self.context].tolist()
        standings = np.full(len(far), _WARMING_UP, np.int8)
        standings[rows] = taken.standings
        runs = tuple(replace(run, rows=rows[run.rows]) for run in taken.runs)
        return replace(taken, standings=standings, runs=runs)

    def take_in(self, arrivals: Arrivals) -> Taken:
        """Take in records of which none is ahead of the clock."""
        taken = super().add(arrivals)
        self.gaps, self.evicted = self.gaps + taken.gaps, self.evicted + taken.evicted
        return self._newest(taken, arrivals) if self.last else taken

    def _newest(self, taken: Taken, arrivals: Arrivals) -> Taken:
        """Leave the runs only the last window of each entity."""
        in_order = np.flatnonzero(np.isin(taken.standings, (_FULL, _WARMING_UP))).tolist()
        newest: dict[str, int] = {}
        for row in in_order:
            entity = "" if arrivals.entities is None else arrivals.entities[row]
            before = newest.get(entity)
            if before is not None:
                self.context.append(before)
            newest[entity] = row
        last = set(newest.values())
        runs = tuple(
            Run(run.rows[-1:], run.values[-self.window.size :], run.unseen[-self.window.size :])
            for run in taken.runs
            if int(run.rows[-1]) in last
        )
        return replace(taken, runs=runs)


def _of_rows(arrivals: Arrivals, rows: NDArray[np.int64]) -> Arrivals:
    names = arrivals.entities
    return Arrivals(
        entities=None if names is None else [names[row] for row in rows.tolist()],
        moments=arrivals.moments[rows],
        values=arrivals.values[rows],
        unseen=arrivals.unseen[rows],
    )


def latest_of(ahead: float | None) -> int | None:
    """Return the moment so many seconds ahead of the clock; None if there is no such limit."""
    return None if ahead is None else int((time.time() + ahead) * SECOND)


def judged(
    model: Model, options: Judging, table: Table, ledger: Ledger
) -> tuple[Verdicts, Ledger]:
    """Judge a table with a ledger, which takes its records in."""
    ledger.last = options.last
    verdicts = model.scorer.score_table(
        table, alpha=options.alpha, explain=options.explain, history=ledger
    )
    if (ledger.context or ledger.ahead) and verdicts.history is not None:
        words = list(verdicts.history)
        for row in ledger.context:
            words[row] = CONTEXT
        for row in ledger.ahead:
            words[row] = AHEAD
        verdicts = replace(verdicts, history=words)
    return verdicts, ledger


def window_of(model: Model) -> Window:
    """Return the window of a model that has one."""
    if model.window is None:
        raise AssertionError("only the records of an artifact with a window have a history")
    return model.window


class Stateless:
    """Each request is a history of its own: any number of processes answer it alike."""

    waits = False

    def answer(
        self, model: Model, options: Judging, table: Table, sizes: Sequence[int]
    ) -> Answered:
        ledger = Ledger(window_of(model), None, OrderedDict[str, Past](), sizes=sizes)
        verdicts, ledger = judged(model, options, table, ledger)
        return Answered(table, verdicts, Seen(gaps=ledger.gaps))
