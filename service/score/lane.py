"""rows of requests for an artifact with a window -> results, strictly in the order they came.

What a record is judged with are those before it, so that no batch may overtake another. One batch
is scored at a time: a small one on the event loop, as `vaewatch.service.score.engine` does, a
large one, or one whose histories another process keeps, in a thread. What comes meanwhile waits,
and shares the next batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from vaewatch.scoring.table import Table
from vaewatch.service.model.model import Model
from vaewatch.service.score.answers import Result, results_of
from vaewatch.service.score.jobs import Job, Settle, place_in, settle
from vaewatch.service.score.options import Options
from vaewatch.service.series.histories import Answered, Histories, Seen
from vaewatch.service.watch.place import PlaceOf

log = logging.getLogger("vaewatch.service")

LARGE = 128  # records; from this number on a batch is scored in a thread
MOST_IN_A_BATCH = 1024


class Waiting(NamedTuple):
    """One request: rows that may share a batch, or a table that is one by itself."""

    model: Model
    options: Options
    settle: Settle
    job: Job | None = None
    table: Table | None = None
    place_of: PlaceOf | None = None

    @property
    def size(self) -> int:
        return len(self.job.rows) if self.job else len(self.table or ())


class Scored(NamedTuple):
    """A batch that was scored in so many seconds."""

    answered: Answered
    seconds: float
    results: list[Result]


Count = Callable[..., None]  # of a batch: model, table, verdicts, seconds, place_of


@dataclass
class Lane:
    """Scores batches in order. `count`: called with every batch; `note`: with what became of the
    histories.
    """

    histories: Histories
    count: Count
    note: Callable[[Seen], None] = field(default=lambda seen: None)
    _waiting: deque[Waiting | Callable[[], None]] = field(default_factory=deque)
    _busy: bool = False  # a batch is in the thread
    _due: bool = False  # `_go_on` will be called
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="lane")
    )

    def submit(self, model: Model, options: Options, job: Job) -> None:
        """Score rows, and settle them with their results or the error."""
        self._put(Waiting(model, options, job.settle, job))

    async def score_table(
        self, model: Model, options: Options, table: Table, place_of: PlaceOf
    ) -> list[Result]:
        """Score a table."""
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        done = partial(settle, future)
        self._put(Waiting(model, options, done, table=table, place_of=place_of))
        return await future

    async def between(self, work: Callable[[], None]) -> None:
        """Call a function between two batches, when nothing changes a history."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def run() -> None:
            try:
                work()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        self._put(run)
        await future

    def _put(self, waiting: Waiting | Callable[[], None]) -> None:
        self._waiting.append(waiting)
        if not self._due and not self._busy:
            self._due = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._go_on)

    def _go_on(self) -> None:
        """Score what waits, until a batch goes to the thread or nothing waits."""
        self._due = False
        while self._waiting and not self._busy:
            first = self._waiting[0]
            if not isinstance(first, Waiting):
                self._waiting.popleft()
                first()
                continue
            batch = self._next_batch(first)
            if self.histories.waits or sum(each.size for each in batch) >= LARGE:
                self._busy = True
                job = asyncio.get_running_loop().run_in_executor(self._threads, self._score, batch)
                job.add_done_callback(partial(self._back, batch))
            else:
                self._answer(batch, partial(self._score, batch))

    def _next_batch(self, first: Waiting) -> list[Waiting]:
        """Take the requests at the front that can share a batch."""
        batch, n = [first], first.size
        self._waiting.popleft()
        while first.job is not None and self._waiting and n < MOST_IN_A_BATCH:
            each = self._waiting[0]
            if not isinstance(each, Waiting) or each.job is None:
                break
            if each.model is not first.model or each.options != first.options:
                break
            self._waiting.popleft()
            batch.append(each)
            n += each.size
        return batch

    def _score(self, batch: list[Waiting]) -> Scored:
        model, options, table = batch[0].model, batch[0].options, batch[0].table
        if table is None:
            rows = [row for each in batch if each.job for row in each.job.rows]
            table = model.reader.table(rows)
        started = perf_counter()
        sizes = [each.size for each in batch]
        answered = self.histories.answer(model, options, table, sizes)
        return Scored(answered, perf_counter() - started, results_of(answered.verdicts))

    def _back(self, batch: list[Waiting], done: asyncio.Future[Scored]) -> None:
        """Answer a batch that was scored in the thread, and go on."""
        self._busy = False
        if done.cancelled():  # the service ends
            return
        self._answer(batch, done.result)
        if not self._due:
            self._go_on()

    def _answer(self, batch: list[Waiting], score: Callable[[], Scored]) -> None:
        try:
            scored = score()
        except Exception as error:
            for each in batch:
                each.settle(error)
            return
        start = 0
        for each in batch:
            each.settle(scored.results[start : start + each.size])
            start += each.size
        self._count(batch, scored)

    def _count(self, batch: list[Waiting], scored: Scored) -> None:
        model, place_of = batch[0].model, batch[0].place_of
        if place_of is None:
            place_of = partial(place_in, model, [each.job for each in batch if each.job])
        self.note(scored.answered.seen)
        answered: Any = scored.answered
        self.count(model, answered.table, answered.verdicts, scored.seconds, place_of)

    def close(self) -> None:
        """Drop what waits for the thread, and end it."""
        self._threads.shutdown(wait=False, cancel_futures=True)
