"""rows -> results: the records of requests that arrive together share one pass of the network.

A batch is scored two turns of the event loop after its first request: in the turn between, the
requests that have arrived already are read and join it. No request waits for a batch to fill, and
under load the cost of a pass is shared. Large requests go to a thread, where ONNX Runtime lets the
event loop go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from vaewatch.scoring.structs import Structs
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.model import Model
from vaewatch.service.score.answers import Result, results_of
from vaewatch.service.score.jobs import Job, Jobs, place_in, settle
from vaewatch.service.score.lane import MOST_IN_A_BATCH, Lane
from vaewatch.service.score.options import Options
from vaewatch.service.series.histories import Histories, Stateless
from vaewatch.service.watch.place import PlaceOf

log = logging.getLogger("vaewatch.service")

LARGE = 512  # records; from this number on a request is scored in a thread

T = TypeVar("T")
Observer = Callable[[Model, Table, Verdicts, float, PlaceOf], None]  # a float of seconds


@dataclass
class Engine:
    """Scores batches. `observe` is called with every one of them, for the metrics.

    histories: what records are judged with, of an artifact with a window.
    """

    observe: Observer
    histories: Histories = field(default_factory=Stateless)
    lane: Lane = field(init=False)
    _pending: dict[tuple[Model, Options], Jobs] = field(default_factory=dict)
    _waiting: int = 0
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="score")
    )

    def __post_init__(self) -> None:
        self.lane = Lane(self.histories, self._count_soon)

    async def score_rows(
        self, model: Model, options: Options, request: str, rows: Structs
    ) -> list[Result]:
        """Score rows in a batch or, if there are many, in a thread."""
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        job = Job(request, rows, partial(settle, future))
        if model.window is not None:
            self.lane.submit(model, options, job)
            return await future
        if len(rows) >= LARGE:
            place_of = partial(place_in, model, [job])
            return await self._in_thread(
                model, options, lambda: model.reader.table(rows), place_of
            )
        self.submit(model, options, job)
        return await future

    def submit(self, model: Model, options: Options, job: Job) -> None:
        """Score fewer than LARGE rows, and settle them with their results or the error."""
        if model.window is not None:
            self.lane.submit(model, options, job)
            return
        if not self._pending:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._flush)
        self._pending.setdefault((model, options), []).append(job)
        self._waiting += len(job.rows)
        if self._waiting >= MOST_IN_A_BATCH:
            self._flush()

    async def score_table(
        self, model: Model, options: Options, table: Table, place_of: PlaceOf
    ) -> list[Result]:
        """Score a table by itself, in a thread if it has many records."""
        if model.window is not None:
            return await self.lane.score_table(model, options, table, place_of)
        if len(table) >= LARGE:
            return await self._in_thread(model, options, lambda: table, place_of)
        verdicts, seconds = _verdicts(model, table, options)
        self._count_soon(model, table, verdicts, seconds, place_of)
        return results_of(verdicts)

    async def _in_thread(
        self, model: Model, options: Options, make: Callable[[], Table], place_of: PlaceOf
    ) -> list[Result]:
        def work() -> tuple[Table, Verdicts, float, list[Result]]:
            table = make()
            verdicts, seconds = _verdicts(model, table, options)
            return table, verdicts, seconds, results_of(verdicts)

        table, verdicts, seconds, results = await self.away(work)
        self._count_soon(model, table, verdicts, seconds, place_of)
        return results

    async def away(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function in the thread, so that the event loop goes on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def _flush(self) -> None:
        pending, self._pending, self._waiting = self._pending, {}, 0
        for (model, options), jobs in pending.items():
            try:
                results = self._score_batch(model, options, jobs)
            except Exception as error:
                for job in jobs:
                    job.settle(error)
                continue
            start = 0
            for job in jobs:
                job.settle(results[start : start + len(job.rows)])
                start += len(job.rows)

    def _score_batch(self, model: Model, options: Options, jobs: Jobs) -> list[Result]:
        rows = jobs[0].rows if len(jobs) == 1 else [row for job in jobs for row in job.rows]
        table = model.reader.table(rows)
        verdicts, seconds = _verdicts(model, table, options)
        self._count_soon(model, table, verdicts, seconds, partial(place_in, model, jobs))
        return results_of(verdicts)

    def _count_soon(self, *batch: Any) -> None:
        """Count the batch after its clients have been answered."""
        asyncio.get_running_loop().call_soon(self._observe, *batch)

    def _observe(self, *batch: Any) -> None:
        try:
            self.observe(*batch)
        except Exception as error:
            log.error("a batch was answered but not counted", exc_info=error)

    def close(self) -> None:
        """Drop what waits for the thread, and end it."""
        self.lane.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _verdicts(model: Model, table: Table, options: Options) -> tuple[Verdicts, float]:
    """Score a table; returns its verdicts and the seconds that they took."""
    started = perf_counter()
    verdicts = model.scorer.score_table(table, alpha=options.alpha, explain=options.explain)
    return verdicts, perf_counter() - started
