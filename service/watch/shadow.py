"""scored batches -> metrics of a second model's verdicts, which no answer waits for."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from vaewatch.scoring.series.history import History
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.columns import translated
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.watch.batches import judged_rows
from vaewatch.service.watch.judged import over_of
from vaewatch.service.watch.metrics import Metrics

log = logging.getLogger("vaewatch.service")

MOST_ENTITIES = 10_000
MOST_WAITING = 2048  # records; under load the shadow is the first thing to be dropped


@dataclass
class Shadow:
    """Scores batches with the registry's shadow model, if there is one, in a thread.

    kept: a shadow with a window has histories of its own, which begin anew after a batch was
        dropped; otherwise each batch is judged by itself.
    """

    registry: Registry
    metrics: Metrics
    kept: bool = False
    _history: tuple[Model, History] | None = None
    _waiting: int = 0
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="shadow")
    )

    def offer(self, model: Model, table: Table, verdicts: Verdicts) -> None:
        """Compare a batch that a model has judged later, or drop it if too many records wait
        already.
        """
        shadow = self.registry.shadow
        if shadow is None:
            return
        if self._waiting + len(table) > MOST_WAITING:
            self.metrics.shadow_dropped.inc(len(table))
            self._history = None
            return
        self._waiting += len(table)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, self._compare, shadow, model, table, verdicts)
        job.add_done_callback(lambda done: self._finish(len(table), done))

    def _finish(self, records: int, done: asyncio.Future[None]) -> None:
        self._waiting -= records
        error = None if done.cancelled() else done.exception()
        if error is not None:
            log.error("the shadow failed on %d records: %s", records, type(error).__name__)

    def _compare(self, shadow: Model, model: Model, table: Table, verdicts: Verdicts) -> None:
        """Compare the verdicts of both at their own alpha, whatever alpha a request asked for."""
        metrics, scorer = self.metrics, shadow.scorer
        history = self._history_of(shadow)
        own = translated(table, scorer.artifact.schema)
        found = scorer.score_table(own, explain=0, history=history)
        if found.history is not None or verdicts.history is not None:
            judged = found.judged & verdicts.judged
            found = found[judged]
            table, verdicts = judged_rows(table, verdicts, np.flatnonzero(judged))
        over = over_of(model.scorer.artifact, table, verdicts)
        alarms = int(found.is_anomaly.sum())
        metrics.shadow_records.labels("anomaly").inc(alarms)
        metrics.shadow_records.labels("normal").inc(len(found) - alarms)
        metrics.shadow_disagreements.inc(int((found.is_anomaly != over.mask).sum()))
        metrics.shadow_shift.observe_many(np.abs(found.p_value - over.p_value))

    def _history_of(self, model: Model) -> History | None:
        """Return the histories of a shadow; None if it has none, or none that last."""
        if not self.kept or model.window is None:
            return None
        if self._history is None or self._history[0] is not model:
            self._history = model, History(model.window, MOST_ENTITIES)
        return self._history[1]

    def close(self) -> None:
        """Drop what waits and end the thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)
