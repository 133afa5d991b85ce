"""batches -> what Prometheus hears of them: kept back, counted a hundred records or so at once.

A count goes in steps, one after each batch that is answered, so that no request waits for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Kind, Schema, missing_code, other_code
from vaewatch.scoring.scorer import Verdicts
from vaewatch.scoring.table import Table
from vaewatch.service.model.model import Model
from vaewatch.service.watch.martingale import Exchangeability
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.recent import Recent
from vaewatch.service.watch.window import WINDOW, Totals, Window, add_up, leave, of_others

MOST_KEPT = 128  # records, then they are counted without waiting for a scrape
Counts = NDArray[np.int64]


class Watch:
    """What the records of one model looked like."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.window = Window(model.name.version)
        self.column_events = ColumnEvents(model.scorer.artifact.schema)
        self.exchangeability = Exchangeability(model.scorer.artifact.calibration.scores)

    def add(self, table: Table, events: Counts, alarms: int) -> None:
        """Take in how some records are spread."""
        counts = self.model.scorer.artifact.drift.count(table)
        self.window.add(counts, events, len(table), alarms)


@dataclass
class Monitor:
    """What the records of the answered requests looked like. `folder`: where workers meet.
    `recent`: what the console remembers, where there is one.
    """

    metrics: Metrics
    folder: Path | None = None
    recent: Recent | None = None
    _kept: list[tuple[Model, Table, Verdicts]] = field(default_factory=list)
    _records: int = 0
    _counting: Iterator[None] = field(default_factory=lambda: iter(()))  # a step each time
    _watch: Watch | None = None
    _begun: Model | None = None
    _news: bool = False  # that the other workers have not been left

    def observe(self, model: Model, table: Table, verdicts: Verdicts) -> None:
        """Take note of a batch; cheap, the counting comes later."""
        self._kept.append((model, table, verdicts))
        self._records += len(table)
        if self._records >= MOST_KEPT:
            self._finish()
            self._counting = self._count_kept()
        next(self._counting, None)

    def reject(self, model: Model, n: int) -> None:
        """Count records that were not scored."""
        name = model.name
        self.metrics.records.labels(name.name, name.version, "rejected").inc(n)

    def flush(self) -> None:
        """Count all that was kept back, and leave the sums for the other workers."""
        self.metrics.flush()
        self._finish()
        self._counting = self._count_kept()
        self._finish()
        if self._news and self.folder is not None and self._watch is not None:
            leave(self.folder, WINDOW, self._watch.window.totals())
            self._news = False
        if self.recent is not None:
            self.recent.leave()

    def _finish(self) -> None:
        """Count to the end what is being counted."""
        for _ in self._counting:
            pass

    def _count_kept(self) -> Iterator[None]:
        kept, self._kept, self._records = self._kept, [], 0
        by_model: dict[Model, list[tuple[Table, Verdicts]]] = {}
        for model, table, verdicts in kept:
            by_model.setdefault(model, []).append((table, verdicts))
        for model, batches in by_model.items():
            table, verdicts = _joined(model, batches)
            yield
            yield from self._count(model, table, verdicts)
            self._news = True

    def _count(self, model: Model, table: Table, verdicts: Verdicts) -> Iterator[None]:
        metrics, name = self.metrics, model.name
        alarms = int(verdicts.is_anomaly.sum())
        metrics.records.labels(name.name, name.version, "anomaly").inc(alarms)
        metrics.records.labels(name.name, name.version, "normal").inc(len(table) - alarms)
        metrics.severity.observe_many(verdicts.severity)
        metrics.score.observe_many(verdicts.score)
        # a request may ask for its own alpha; the budget is watched at the artifact's
        over = int((verdicts.p_value <= name.alpha).sum())
        metrics.alarms.labels(name.name, name.version).inc(over)
        if self.recent is not None:
            self.recent.add(verdicts, over)
        yield
        if self._watch is None or self._watch.model is not model:
            self._watch = Watch(model)
        watch = self._watch
        watch.add(table, self._count_columns(watch, table, verdicts), over)
        yield
        metrics.exchangeability.set(watch.exchangeability.update(verdicts.score))

    def _count_columns(self, watch: Watch, table: Table, verdicts: Verdicts) -> Counts:
        """Gives (EVENTS, columns): how often each event befell each column."""
        metrics, names = self.metrics, table.schema.names
        events = np.array([*watch.column_events(table), first_reasons(table.schema, verdicts)])
        series = (metrics.missing, metrics.unknown, metrics.out_of_range, metrics.top_reason)
        for counter, counts in zip(series, events, strict=True):
            for i in np.flatnonzero(counts).tolist():
                counter.labels(names[i]).inc(float(counts[i]))
        return events

    def window(self, model: Model) -> Totals:
        """The sliding window of all workers."""
        if self._begun is not model:
            self.metrics.begin(
                model.name.name, model.name.version, model.scorer.artifact.schema.names
            )
            self._begun = model
        mine = [self._watch.window.totals()] if self._watch is not None else []
        others = [] if self.folder is None else list(of_others(self.folder, WINDOW, Totals))
        return add_up([*mine, *others], model.name.version)


def _joined(model: Model, batches: list[tuple[Table, Verdicts]]) -> tuple[Table, Verdicts]:
    """One batch of many; the raw texts are not needed to count."""
    tables, verdicts = zip(*batches, strict=True)
    table = Table(
        model.scorer.artifact.schema,
        np.concatenate([t.numbers for t in tables]),
        np.concatenate([t.codes for t in tables]),
        (),
    )
    return table, Verdicts(
        np.concatenate([v.score for v in verdicts]),
        np.concatenate([v.p_value for v in verdicts]),
        np.concatenate([v.severity for v in verdicts]),
        np.concatenate([v.is_anomaly for v in verdicts]),
        [reasons for v in verdicts for reasons in v.reasons],
    )


def first_reasons(schema: Schema, verdicts: Verdicts) -> Counts:
    """(columns,): alarms that each column is the first reason of."""
    rows = np.flatnonzero(verdicts.is_anomaly).tolist()
    top = Counter(verdicts.reasons[i][0].column for i in rows if verdicts.reasons[i])
    return np.array([top[name] for name in schema.names], dtype=np.int64)


class ColumnEvents:
    """Counts what befell the columns of one schema."""

    def __init__(self, schema: Schema) -> None:
        at = {name: i for i, name in enumerate(schema.names)}
        self._columns = len(at)
        self._numeric = np.array([at[c.name] for c in schema.numeric], np.int64)
        self._discrete = np.array([at[c.name] for c in schema.discrete], np.int64)
        self._low = np.array([-np.inf if c.low is None else c.low for c in schema.numeric])
        self._high = np.array([np.inf if c.high is None else c.high for c in schema.numeric])
        self._gone = np.array([missing_code(c) for c in schema.discrete], np.int32)
        new = [other_code(c) if c.kind is Kind.CATEGORICAL else -1 for c in schema.discrete]
        self._new = np.array(new, np.int32)

    def __call__(self, table: Table) -> tuple[Counts, Counts, Counts]:
        """(columns,) each: missing values, categories never seen, numbers outside the fit data's
        range.
        """
        missing, unknown, outside = np.zeros((3, self._columns), dtype=np.int64)
        numbers, codes = table.numbers, table.codes
        missing[self._numeric] = np.isnan(numbers).sum(axis=0)
        outside[self._numeric] = ((numbers < self._low) | (numbers > self._high)).sum(axis=0)
        missing[self._discrete] = (codes == self._gone).sum(axis=0)
        unknown[self._discrete] = (codes == self._new).sum(axis=0)
        return missing, unknown, outside
