"""scored batches -> metrics: kept back, then counted some hundred records at a time.

Counting goes in steps, one after each batch that is answered, so that no request waits for all of
them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.schema import Kind, Schema, missing_code, other_code
from vaewatch.scoring.stream.martingale import Exchangeability
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts, joined
from vaewatch.service.model.model import Model
from vaewatch.service.watch.metrics import ANOMALY, NO_SEGMENT, NORMAL, REJECTED, Metrics
from vaewatch.service.watch.place import Place, PlaceOf
from vaewatch.service.watch.recent import MOST_ALARMS, Recent
from vaewatch.service.watch.scores import Scores
from vaewatch.service.watch.trail import Trail
from vaewatch.service.watch.window import WINDOW, Totals, Window, add_up, of_others, publish

MOST_KEPT = 128  # records; more are counted without waiting for a scrape
Counts = NDArray[np.int64]
Places = list[Place | None]  # of the last alarms of a batch


class Watch:
    """The recent records of one model, and the evidence that they have changed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.window = Window(model.name.version)
        self.column_events = ColumnEvents(model.scorer.artifact.schema)
        artifact = model.scorer.artifact
        own = artifact.segments.own_scores if artifact.segments else ()
        self.exchangeability = Exchangeability(
            artifact.calibration.scores, own=own, upward=model.window is not None
        )

    def add(self, table: Table, events: Counts, over: Over) -> None:
        """Add a table to the window. `events`: (EVENTS, columns)."""
        counts = self.model.scorer.artifact.drift.count(table)
        self.window.add(counts, events, len(table), over.alarms, over.by_segment)


@dataclass(frozen=True)
class Over:
    """The alarms of some records at the artifact's own alpha, whatever alpha a request asked for.

    severity: (N,). The rest where the artifact has a segment: slots: (N,) the place of each
    record's calibration; by_segment: (codes, 2) the records and alarms of each segment;
    codes: (N,) the segment of each record.
    """

    alarms: int
    severity: NDArray[np.float64]
    slots: NDArray[np.int64] | None = None
    by_segment: Counts | None = None
    codes: NDArray[np.int32] | None = None


@dataclass
class Monitor:
    """Counts the records of the requests that were answered.

    folder: what workers share; None if there is one process.
    recent: what the console shows; None without the console.
    scores: what a recalibration is computed from.
    """

    metrics: Metrics
    folder: Path | None = None
    recent: Recent | None = None
    scores: Scores = field(default_factory=Scores)
    _kept: list[tuple[Model, Table, Verdicts, Places, Trail | None]] = field(default_factory=list)
    _records: int = 0
    _counting: Iterator[None] = field(default_factory=lambda: iter(()))  # a step each time
    _watch: Watch | None = None
    _begun: Model | None = None
    _news: bool = False  # the other workers have yet to see the window

    def observe(
        self, model: Model, table: Table, verdicts: Verdicts, place_of: PlaceOf | None = None
    ) -> None:
        """Keep a batch; the counting comes later. `place_of` is asked for its alarms alone.

        Of an artifact with a window, only records that were judged are kept: the others are no
        part of any count of verdicts, of drift or of evidence.
        """
        places, trail = self._places(verdicts, place_of), None
        if verdicts.history is not None:
            self.metrics.histories.count(verdicts.history)
            table, verdicts = _judged(table, verdicts)
            trail = Trail.of(model, table)
        self._kept.append((model, table, verdicts, places, trail))
        self._records += len(table)
        if self._records >= MOST_KEPT:
            self._finish()
            self._counting = self._count_kept()
        next(self._counting, None)

    def _places(self, verdicts: Verdicts, place_of: PlaceOf | None) -> Places:
        if self.recent is None:
            return []
        rows = np.flatnonzero(verdicts.is_anomaly)[-MOST_ALARMS:].tolist()
        return [None if place_of is None else place_of(row) for row in rows]

    def count_request(self, records: int) -> None:
        """Count a scoring request by its number of records."""
        self.metrics.tally.add(self.metrics.records_per_request, records)

    def reject(self, model: Model, n: int) -> None:
        """Count records that were not scored."""
        name = model.name
        self.metrics.records.labels(name.name, name.version, REJECTED, NO_SEGMENT).inc(n)

    async def keep_flushing(self) -> None:
        """Flush every second, so that another worker's scrape is at most so late."""
        while True:
            await asyncio.sleep(1)
            self.flush()

    def flush(self) -> None:
        """Count all that has been kept back, and share the sums with the other workers."""
        self.metrics.flush()
        self._finish()
        self._counting = self._count_kept()
        self._finish()
        if self._news and self.folder is not None and self._watch is not None:
            publish(self.folder, WINDOW, self._watch.window.totals())
            self._news = False
        if self.recent is not None:
            self.recent.publish()
        self.scores.publish()

    def _finish(self) -> None:
        """Take the steps that are left of the present count."""
        for _ in self._counting:
            pass

    def _count_kept(self) -> Iterator[None]:
        kept, self._kept, self._records = self._kept, [], 0
        by_model: dict[Model, list[tuple[Table, Verdicts]]] = {}
        places: dict[Model, Places] = {}
        trails: dict[Model, list[Trail]] = {}
        for model, table, verdicts, its, trail in kept:
            by_model.setdefault(model, []).append((table, verdicts))
            places.setdefault(model, []).extend(its)
            if trail is not None:
                trails.setdefault(model, []).append(trail)
        for model, batches in by_model.items():
            table, verdicts = _joined(model, batches)
            yield
            if len(table):
                trail = Trail.joined(trails[model]) if model in trails else None
                yield from self._count(model, table, verdicts, places[model], trail)
                self._news = True

    def _count(
        self, model: Model, table: Table, verdicts: Verdicts, places: Places, trail: Trail | None
    ) -> Iterator[None]:
        metrics = self.metrics
        over = self._count_verdicts(model, table, verdicts)
        metrics.severity.observe_many(over.severity)
        metrics.score.observe_many(verdicts.score)
        if self.recent is not None:
            self.recent.add(verdicts, over.alarms, places)
        self.scores.add(model.scale, verdicts.score, over.alarms, over.codes, trail)
        yield
        if self._watch is None or self._watch.model is not model:
            self._watch = Watch(model)
        watch = self._watch
        watch.add(table, self._count_columns(watch, table, verdicts), over)
        yield
        scores = verdicts.score if trail is None else verdicts.score[trail.spaced]
        metrics.exchangeability.set(watch.exchangeability.update(scores, over.slots))

    def _count_verdicts(self, model: Model, table: Table, verdicts: Verdicts) -> Over:
        """Count records by verdict, and alarms."""
        name, artifact = model.name, model.scorer.artifact
        if artifact.segments is not None:
            return self._count_segments(model, artifact.segments, table, verdicts)
        records, names = self.metrics.records, (name.name, name.version)
        alarms = int(verdicts.is_anomaly.sum())
        records.labels(*names, ANOMALY, NO_SEGMENT).inc(alarms)
        records.labels(*names, NORMAL, NO_SEGMENT).inc(len(table) - alarms)
        over = int(artifact.calibration.alarms(verdicts.p_value).sum())
        self.metrics.alarms.labels(*names, NO_SEGMENT).inc(over)
        expected = len(table) * model.expected_rate
        self.metrics.alarms_expected.labels(*names, NO_SEGMENT).inc(expected)
        return Over(over, verdicts.severity)

    def _count_segments(
        self, model: Model, segments: Segments, table: Table, verdicts: Verdicts
    ) -> Over:
        """Count the verdicts and alarms of each segment.

        The records are ranked again: at the alpha of a request, another calibration may have
        judged them.
        """
        names, codes = (model.name.name, model.name.version), segments.codes(table)
        ranked = segments.rank(verdicts.score, codes)
        alarms = segments.pooled.alarms(ranked.p_value)
        total, anomalies = segments.count(codes), segments.count(codes[verdicts.is_anomaly])
        over, expected = segments.count(codes[alarms]), total * segments.expected_rates
        for code in np.flatnonzero(total).tolist():
            label, n = segments.metric_labels[code], int(anomalies[code])
            self.metrics.records.labels(*names, ANOMALY, label).inc(n)
            self.metrics.records.labels(*names, NORMAL, label).inc(int(total[code]) - n)
            self.metrics.alarms.labels(*names, label).inc(int(over[code]))
            self.metrics.alarms_expected.labels(*names, label).inc(float(expected[code]))
        by_segment = np.stack([total, over], axis=1)
        return Over(int(alarms.sum()), ranked.severity, ranked.slots, by_segment, codes)

    def _count_columns(self, watch: Watch, table: Table, verdicts: Verdicts) -> Counts:
        """Count the events of each column; returns them as (EVENTS, columns)."""
        metrics, names = self.metrics, table.schema.names
        events = np.array([*watch.column_events(table), first_reasons(table.schema, verdicts)])
        series = (metrics.missing, metrics.unknown, metrics.out_of_range, metrics.top_reason)
        for counter, counts in zip(series, events, strict=True):
            for i in np.flatnonzero(counts).tolist():
                counter.labels(names[i]).inc(float(counts[i]))
        return events

    def window(self, model: Model) -> Totals:
        """The sliding window of a model, over all workers."""
        if self._begun is not model:
            artifact = model.scorer.artifact
            named = artifact.segments.metric_labels if artifact.segments else (NO_SEGMENT,)
            names = artifact.schema.names
            self.metrics.begin(model.name.name, model.name.version, names, named)
            self.metrics.histories.begin()
            self._begun = model
        mine = [self._watch.window.totals()] if self._watch is not None else []
        others = [] if self.folder is None else list(of_others(self.folder, WINDOW, Totals))
        return add_up([*mine, *others], model.name.version)


def _joined(model: Model, batches: list[tuple[Table, Verdicts]]) -> tuple[Table, Verdicts]:
    """Join batches into one; counting does not need the raw texts."""
    tables, verdicts = zip(*batches, strict=True)
    table = Table(
        model.scorer.artifact.schema,
        np.concatenate([t.numbers for t in tables]),
        np.concatenate([t.codes for t in tables]),
        (),
    )
    return table, joined(verdicts)


def _judged(table: Table, verdicts: Verdicts) -> tuple[Table, Verdicts]:
    """Return the records that were judged."""
    rows = np.flatnonzero(verdicts.judged)
    return (table, verdicts) if len(rows) == len(table) else (table.take(rows), verdicts[rows])


def first_reasons(schema: Schema, verdicts: Verdicts) -> Counts:
    """(columns,) alarms of which each column is the first reason."""
    rows = np.flatnonzero(verdicts.is_anomaly).tolist()
    top = Counter(verdicts.reasons[i][0].column for i in rows if verdicts.reasons[i])
    return np.array([top[name] for name in schema.names], dtype=np.int64)


class ColumnEvents:
    """Counts the missing, unseen and out-of-range values of a schema's columns."""

    def __init__(self, schema: Schema) -> None:
        at = {name: i for i, name in enumerate(schema.names)}
        self._columns = len(at)
        self._numeric = np.array([at[c.name] for c in schema.numeric], np.int64)
        self._discrete = np.array([at[c.name] for c in schema.discrete], np.int64)
        self._low = np.array([-np.inf if c.low is None else c.low for c in schema.numeric])
        self._high = np.array([np.inf if c.high is None else c.high for c in schema.numeric])
        self._gone = np.array([missing_code(c) for c in schema.discrete], np.int32)
        other = [other_code(c) if c.kind is Kind.CATEGORICAL else -1 for c in schema.discrete]
        self._unseen = np.array(other, np.int32)

    def __call__(self, table: Table) -> tuple[Counts, Counts, Counts]:
        """Return (columns,) numbers of missing values, unseen categories, and numbers outside the
        fit data's range.
        """
        missing, unseen, outside = np.zeros((3, self._columns), dtype=np.int64)
        numbers, codes = table.numbers, table.codes
        missing[self._numeric] = np.isnan(numbers).sum(axis=0)
        outside[self._numeric] = ((numbers < self._low) | (numbers > self._high)).sum(axis=0)
        missing[self._discrete] = (codes == self._gone).sum(axis=0)
        unseen[self._discrete] = (codes == self._unseen).sum(axis=0)
        return missing, unseen, outside
