"""scored batches -> a second model's opinion, off the answer's path; only metrics tell of it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.scorer import Verdicts
from vaewatch.scoring.table import Table, category_codes
from vaewatch.service.model.model import Model
from vaewatch.service.watch.metrics import Metrics

log = logging.getLogger("vaewatch.service")

MOST_WAITING = 2048  # records; the shadow is the first to go without under load


def require_same_columns(active: Schema, shadow: Schema) -> None:
    """Refuse a shadow that cannot score the same records."""
    mine = {column.name: column.kind for column in active.columns}
    theirs = {column.name: column.kind for column in shadow.columns}
    if mine != theirs:
        differ = sorted(
            name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
        )
        raise ArtifactError(
            "a shadow must have the columns of the artifact that answers, of the same kinds; "
            f"'{differ[0]}' differs."
        )


def translated(table: Table, schema: Schema) -> Table:
    """The same records as another schema of the same columns codes them."""
    old = table.schema
    numeric = [_index(old.numeric, column.name) for column in schema.numeric]
    discrete = [_index(old.discrete, column.name) for column in schema.discrete]
    codes = np.empty((len(table), len(discrete)), dtype=np.int32)
    for j, (column, at) in enumerate(zip(schema.discrete, discrete, strict=True)):
        codes[:, j] = _recoded(table, at, old.discrete[at], column)
    texts = [table.texts[at] for at in discrete]
    return Table(schema, table.numbers[:, numeric], codes, texts)


def _index(columns: tuple[Column, ...], name: str) -> int:
    return next(i for i, column in enumerate(columns) if column.name == name)


def _recoded(
    table: Table, at: int, old: Column, new: Column
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    codes = table.codes[:, at]
    if old.kind is Kind.BOOLEAN:
        return codes
    known, other = category_codes(new), other_code(new)
    names = [known.get(name, other) for name in old.categories]
    out = np.array([*names, other, missing_code(new)], dtype=np.int32)[codes]
    for row in np.flatnonzero(codes == other_code(old)).tolist():
        out[row] = known.get(str(table.texts[at][row]), other)
    return out


@dataclass
class Shadow:
    """A model that scores along."""

    model: Model
    metrics: Metrics
    _waiting: int = 0
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="shadow")
    )

    def offer(self, table: Table, verdicts: Verdicts) -> None:
        """Score a batch some time, or drop it."""
        if self._waiting + len(table) > MOST_WAITING:
            self.metrics.shadow_dropped.inc(len(table))
            return
        self._waiting += len(table)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, self._compare, table, verdicts)
        job.add_done_callback(lambda done: self._finish(len(table), done.exception()))

    def _finish(self, records: int, error: BaseException | None) -> None:
        self._waiting -= records
        if error is not None:
            log.error("the shadow failed on %d records: %s", records, type(error).__name__)

    def _compare(self, table: Table, verdicts: Verdicts) -> None:
        metrics, scorer = self.metrics, self.model.scorer
        found = scorer.score_table(translated(table, scorer.artifact.schema), explain=0)
        alarms = int(found.is_anomaly.sum())
        metrics.shadow_records.labels("anomaly").inc(alarms)
        metrics.shadow_records.labels("normal").inc(len(found) - alarms)
        metrics.shadow_disagreements.inc(int((found.is_anomaly != verdicts.is_anomaly).sum()))
        metrics.shadow_shift.observe_many(np.abs(found.p_value - verdicts.p_value))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
