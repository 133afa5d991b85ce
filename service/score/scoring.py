"""records of a request -> results -> reply: the one way to answer a scoring request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import RecordError
from vaewatch.scoring.structs import Structs
from vaewatch.service.http.exchange import Done, Reply, Request
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.answers import Results, with_ids, with_rejected
from vaewatch.service.score.engine import Engine
from vaewatch.service.score.jobs import LONGEST_ID, Job, Outcome
from vaewatch.service.score.messages import CheckedRecords
from vaewatch.service.score.options import Options
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.place import Place, text_of_id


class Asked(NamedTuple):
    """What a request asks for, beside its records. `write` makes the reply of their results."""

    model: Model
    options: Options
    write: Callable[[Results], Reply]


@dataclass(frozen=True)
class Scoring:
    """Scores the records of requests, however these came.

    monitor: counts requests and rejected records; None: they are not counted.
    """

    registry: Registry
    engine: Engine
    monitor: Monitor | None

    def start(self, request: Request, asked: Asked, rows: Structs, done: Done) -> None:
        """Score rows, fewer than LARGE, and call `done` with the reply or what went wrong."""
        deliver = partial(self._deliver, request, asked, rows, done)
        self.engine.submit(asked.model, asked.options, Job(request.id, rows, deliver))

    def _deliver(
        self, request: Request, asked: Asked, rows: Structs, done: Done, outcome: Outcome
    ) -> None:
        if isinstance(outcome, Exception):
            done(outcome)
            return
        try:
            results = with_ids(outcome, asked.model.reader.ids(rows))
            reply = self.reply(request, asked, results)
        except Exception as error:
            done(error)
        else:
            done(reply)

    async def score(
        self, request: Request, asked: Asked, records: Structs | CheckedRecords
    ) -> Results:
        """Score the records of a request.

        Raises:
            RecordError: some are bad, and the request does not ask to keep the others.
        """
        if isinstance(records, CheckedRecords):
            request.records = records.n
            scored = await self._score_checked(asked, request.id, records)
            return with_ids(scored, records.ids)
        request.records = len(records)
        results = await self.engine.score_rows(asked.model, asked.options, request.id, records)
        return with_ids(results, asked.model.reader.ids(records))

    async def _score_checked(self, asked: Asked, request: str, records: CheckedRecords) -> Results:
        model, options = asked.model, asked.options
        if not records.problems:
            place_of = partial(_place_of, request, records, records.places)
            return await self.engine.score_table(model, options, records.table, place_of)
        bad = {problem.record for problem in records.problems}
        if self.monitor is not None:
            self.monitor.reject(model, len(bad) if options.keep_bad else records.n)
        if not options.keep_bad:
            raise RecordError(records.problems)
        good = np.array([at not in bad for at in records.places.tolist()], dtype=bool)
        table = records.table.take(np.flatnonzero(good))
        place_of = partial(_place_of, request, records, records.places[good])
        scored = (
            await self.engine.score_table(model, options, table, place_of) if len(table) else []
        )
        return with_rejected(scored, records.problems, records.n)

    def reply(self, request: Request, asked: Asked, results: Results) -> Reply:
        """Count the request, and write its reply."""
        if self.monitor is not None:
            self.monitor.count_request(request.records)
        return asked.write(results)


def _place_of(request: str, records: CheckedRecords, places: NDArray[np.int64], row: int) -> Place:
    """Return the place of a row; (rows,) places say which record each row is."""
    index = int(places[row])
    own = None if records.ids is None else records.ids[index]
    return Place(request, index, records.n, text_of_id(own, LONGEST_ID))
