"""scored batches -> metrics: kept back, then counted some hundred records at a time.

Counting goes in steps, one after each batch that is answered, so that no request waits for all of
them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.incidents.incident import MOST_EXAMPLES
from vaewatch.scoring.incidents.rule import members_of
from vaewatch.scoring.series.settling import of_new_entities
from vaewatch.scoring.stream.martingale import Exchangeability
from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.model import Model
from vaewatch.service.watch.batches import Batch, Places, joined, judged_rows
from vaewatch.service.watch.columns import ColumnEvents, Counts, first_reasons
from vaewatch.service.watch.families.shown import NO_SEGMENT
from vaewatch.service.watch.judged import Judged, Over, over_of
from vaewatch.service.watch.metrics import ANOMALY, NORMAL, REJECTED, Metrics
from vaewatch.service.watch.place import PlaceOf
from vaewatch.service.watch.recent import MOST_ALARMS, Recent
from vaewatch.service.watch.scores import Scores
from vaewatch.service.watch.trail import Trail
from vaewatch.service.watch.window import (
    NO_SEGMENTS,
    WINDOW,
    Block,
    Totals,
    Window,
    add_up,
    of_others,
    publish,
)

log = logging.getLogger("vaewatch.service")

MOST_KEPT = 128  # records; more are counted without waiting for a scrape
MOST_NAMED = 200  # alarms of a batch whose ids are looked up


def strongest(rows: NDArray[np.int64], groups: Sequence[int], verdicts: Verdicts) -> list[int]:
    """Put the first rows of each group and first reason, as many as an incident shows, before the
    others.
    """
    seen: dict[tuple[int, str | None], int] = {}
    parts: tuple[list[int], list[int]] = [], []
    for row, group in zip(rows.tolist(), groups, strict=True):
        reasons = verdicts.reasons[row]
        key = group, reasons[0].column if reasons else None
        seen[key] = seen.get(key, 0) + 1
        parts[seen[key] > MOST_EXAMPLES].append(row)
    return parts[0] + parts[1]


class Watch:
    """The recent records of one model, and the evidence that they have changed."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.window = Window(model.name.version)
        artifact = model.scorer.artifact
        self.column_events = ColumnEvents(artifact.schema)
        own = artifact.segments.own_scores if artifact.segments else ()
        self.exchangeability = Exchangeability.of(artifact.calibration, own, spacing=model.spacing)

    def add(self, table: Table, events: Counts, over: Over) -> None:
        """Add a table to the window. `events`: (EVENTS, columns)."""
        counts = self.model.scorer.artifact.drift.count(table)
        by_segment = NO_SEGMENTS if over.by_segment is None else over.by_segment
        self.window.add(Block(counts, events, len(table), over.alarms, by_segment))


@dataclass
class Monitor:
    """Counts the records of the requests that were answered.

    folder: what workers share; None if there is one process.
    recent: what the console shows; None without the console.
    scores: what a recalibration is computed from.
    judged: called with the records that were counted, for incidents.
    """

    metrics: Metrics
    folder: Path | None = None
    recent: Recent | None = None
    scores: Scores = field(default_factory=Scores)
    judged: Callable[[Model, Judged], None] | None = None
    _kept: list[Batch] = field(default_factory=list)
    _records: int = 0
    _counting: Iterator[None] = field(default_factory=lambda: iter(()))  # a step each time
    _watch: Watch | None = None
    _begun: Model | None = None
    _news: bool = False  # the other workers have yet to see the window
    _disk_fails: bool = False  # the log has it

    def observe(
        self, model: Model, table: Table, verdicts: Verdicts, place_of: PlaceOf | None = None
    ) -> None:
        """Keep a batch; the counting comes later. `place_of` is asked for its alarms alone.

        Of an artifact with a window, only records that were judged are kept: the others are no
        part of any count of verdicts, of drift or of evidence.
        """
        odd, trail = np.flatnonzero(verdicts.is_anomaly), None
        places: Places = []
        ids: dict[int, str] = {}
        if len(odd):
            places = self._places(odd, place_of)
            ids = self._ids(model, table, verdicts, place_of)
        if verdicts.history is not None:
            self.metrics.histories.count(verdicts.history)
            rows = np.flatnonzero(verdicts.judged)
            ids = {int(np.searchsorted(rows, row)): id for row, id in ids.items()}
            table, verdicts = judged_rows(table, verdicts, rows)
            trail = Trail.of(model, table)
        self._kept.append(Batch(model, table, verdicts, places, trail, ids))
        self._records += len(table)
        if self._records >= MOST_KEPT:
            self._finish()
            self._counting = self._count_kept()
        next(self._counting, None)

    def _places(self, odd: NDArray[np.int64], place_of: PlaceOf | None) -> Places:
        if self.recent is None:
            return []
        rows = odd[-MOST_ALARMS:].tolist()
        return [None if place_of is None else place_of(row) for row in rows]

    def _ids(
        self, model: Model, table: Table, verdicts: Verdicts, place_of: PlaceOf | None
    ) -> dict[int, str]:
        """Return the ids of the records that alarm, if they have any, by row; of many alarms those
        that incidents show first, since each takes a look at its request.
        """
        if self.judged is None or place_of is None:
            return {}
        rows = np.flatnonzero(verdicts.is_anomaly)
        shown = rows.tolist()
        if len(rows) > MOST_NAMED:
            rows = rows[np.argsort(-verdicts.severity[rows], kind="stable")]
            groups = members_of(model.scorer.artifact, table.take(rows)).codes.tolist()
            shown = strongest(rows, groups, verdicts)
        found = ((row, place_of(row).id) for row in shown[:MOST_NAMED])
        return {row: id for row, id in found if id is not None}

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
            try:
                self.flush()
            except Exception as error:
                log.error("records were answered but not counted", exc_info=error)

    def flush(self) -> None:
        """Count what was kept back, and share the sums; what the disk refuses is shared later."""
        with self._despite_the_disk():
            self.metrics.flush()
            self._finish()
            self._counting = self._count_kept()
            self._finish()
            self._share()

    @contextmanager
    def _despite_the_disk(self) -> Iterator[None]:
        """Go on where a file of the workers cannot be written, and say so once."""
        try:
            yield
        except OSError as error:
            if not self._disk_fails:
                log.error("workers cannot share what they count: %s", error)
            self._disk_fails = True

    def _share(self) -> None:
        if self._news and self.folder is not None and self._watch is not None:
            publish(self.folder, WINDOW, self._watch.window.totals())
            self._news = False
        if self.recent is not None:
            self.recent.publish()
        self.scores.publish()
        if self._disk_fails:
            log.warning("workers share what they count again")
        self._disk_fails = False

    def _finish(self) -> None:
        """Take the steps that are left of the present count."""
        for _ in self._counting:
            pass

    def _count_kept(self) -> Iterator[None]:
        kept, self._kept, self._records = self._kept, [], 0
        by_model: dict[Model, list[Batch]] = {}
        for batch in kept:
            by_model.setdefault(batch.model, []).append(batch)
        for batches in by_model.values():
            whole = joined(batches)
            yield
            if len(whole.table):
                yield from self._count(whole)
                self._news = True

    def _count(self, batch: Batch) -> Iterator[None]:
        metrics, (model, table, verdicts, places, trail, ids) = self.metrics, batch
        over = self._count_verdicts(model, table, verdicts)
        metrics.severity.observe_many(over.severity)
        metrics.score.observe_many(verdicts.score)
        if self.recent is not None:
            self.recent.add(verdicts, over.alarms, places)
        new = of_new_entities(model.scorer.artifact, table.entities)
        usual = slice(None) if new is None else ~new  # records that are as those that calibrate
        scores = verdicts.score[usual]
        trail = None if trail is None else trail.only(usual)
        self.scores.add(model.scale, scores, over.codes, trail, table.times)
        yield
        if self._watch is None or self._watch.model is not model:
            self._watch = Watch(model)
        watch = self._watch
        watch.add(table, self._count_columns(watch, table, verdicts, over), over)
        yield
        scores = scores if trail is None else scores[trail.spaced]
        metrics.exchangeability.set(watch.exchangeability.update(scores, over.slots))
        if self.judged is not None:
            yield
            ranks = over.mask, over.p_value, over.severity
            self.judged(model, Judged(model.scorer.artifact, table, verdicts, *ranks, ids))

    def _count_verdicts(self, model: Model, table: Table, verdicts: Verdicts) -> Over:
        """Count records by verdict, and alarms."""
        name, artifact = model.name, model.scorer.artifact
        over = over_of(artifact, table, verdicts)
        if artifact.segments is not None:
            self._count_segments(model, artifact.segments, over, verdicts)
            return over
        records, names = self.metrics.records, (name.name, name.version)
        alarms = int(verdicts.is_anomaly.sum())
        records.labels(*names, ANOMALY, NO_SEGMENT).inc(alarms)
        records.labels(*names, NORMAL, NO_SEGMENT).inc(len(table) - alarms)
        self.metrics.alarms.labels(*names, NO_SEGMENT).inc(over.alarms)
        expected = len(table) * model.expected_rate
        self.metrics.alarms_expected.labels(*names, NO_SEGMENT).inc(expected)
        return over

    def _count_segments(
        self, model: Model, segments: Segments, over: Over, verdicts: Verdicts
    ) -> None:
        """Count the verdicts and alarms of each segment."""
        assert over.codes is not None and over.by_segment is not None
        names = model.name.name, model.name.version
        total, alarms = over.by_segment.T
        anomalies = segments.count(over.codes[verdicts.is_anomaly])
        expected = total * segments.expected_rates
        for code in np.flatnonzero(total).tolist():
            label, n = segments.metric_labels[code], int(anomalies[code])
            self.metrics.records.labels(*names, ANOMALY, label).inc(n)
            self.metrics.records.labels(*names, NORMAL, label).inc(int(total[code]) - n)
            self.metrics.alarms.labels(*names, label).inc(int(alarms[code]))
            self.metrics.alarms_expected.labels(*names, label).inc(float(expected[code]))

    def _count_columns(self, watch: Watch, table: Table, verdicts: Verdicts, over: Over) -> Counts:
        """Count the events of each column; returns them as (EVENTS, columns)."""
        metrics, names = self.metrics, table.schema.names
        first = first_reasons(names, verdicts, over.mask)
        events = np.array([*watch.column_events(table), first])
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
            with self._despite_the_disk():
                self.metrics.begin(model.name.name, model.name.version, names, named)
                self.metrics.histories.begin()
                self._begun = model
        mine = [self._watch.window.totals()] if self._watch is not None else []
        others = [] if self.folder is None else list(of_others(self.folder, WINDOW, Totals))
        return add_up([*mine, *others], model.name.version)
