"""events -> Prometheus series. Labels come from declared names only.

Histograms take a whole batch at once: 1,000 records cost one `searchsorted`, not 1,000 calls.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from vaewatch.scoring.budget.calibration import SEVERITIES
from vaewatch.service.private import Private
from vaewatch.service.watch.families.files import reserve_files
from vaewatch.service.watch.families.histories import HistorySeries
from vaewatch.service.watch.families.incidents import IncidentSeries
from vaewatch.service.watch.families.notifications import NotificationSeries
from vaewatch.service.watch.families.shown import NO_SEGMENT, PREFIX, SEGMENT, WithoutEmpty

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # set by the parent when there are several workers

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SCORES = tuple(sign * 10.0**k for sign, ks in ((-1, (2, 1, 0)), (1, range(6))) for k in ks)
SHIFTS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
NORMAL, ANOMALY, REJECTED = ("normal", "anomaly", "rejected")
RELOADS = ("loaded", "unchanged", "refused")
RECALIBRATIONS = ("proposed", "refused", "applied", "forced", "reverted", "failed")
CHANGED = ("applied", "forced", "reverted")  # those that have changed the model
MOST_KEPT = 1000  # observations of one series; they are flushed every second anyway
RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
WORKER_DEATHS = "worker_deaths", "Workers that died, and were replaced; the log has what of."

PRIVATE = Private(Histogram, ("_upper_bounds", "_buckets", "_sum"))  # of prometheus-client
ONE_BY_ONE = PRIVATE.missing()


class BatchHistogram(Histogram):
    """A histogram that counts an array in one pass, if prometheus-client still has the private
    attributes that this takes; else it observes one value at a time.
    """

    def observe_many(self, values: NDArray[np.float64]) -> None:
        """Observe (N,) values."""
        if ONE_BY_ONE:
            for value in values.tolist():
                self.observe(value)
            return
        at = np.searchsorted(np.array(self._upper_bounds), values, side="left")
        counts = np.bincount(at, minlength=len(self._upper_bounds))
        for i in np.flatnonzero(counts).tolist():
            self._buckets[i].inc(float(counts[i]))
        self._sum.inc(float(values.sum()))


class Tally:
    """Observations of single requests, kept back until the next flush: counting many at once costs
    hardly more than counting one.
    """

    def __init__(self) -> None:
        self._kept: defaultdict[BatchHistogram, list[float]] = defaultdict(list)

    def add(self, series: BatchHistogram, value: float) -> None:
        """Keep one observation."""
        kept = self._kept[series]
        kept.append(value)
        if len(kept) >= MOST_KEPT:
            self.flush()

    def flush(self) -> None:
        """Observe all that has been kept."""
        kept, self._kept = self._kept, defaultdict(list)
        for series, observed in kept.items():
            series.observe_many(np.array(observed))


class Metrics:
    """Every series of the service, in a registry of its own.

    busy: requests in progress.
    connections_open: open connections.
    """

    def __init__(self) -> None:
        self.tally, self.busy, self.connections_open = Tally(), 0, 0
        # they would be a third of each scrape, and nothing uses them
        disable_created_metrics()  # type: ignore[no-untyped-call]
        reserve_files()
        self.registry = CollectorRegistry()
        self.records = self._counter(
            "records",
            "Records by verdict: normal, anomaly or rejected.",
            "model",
            "version",
            "verdict",
            SEGMENT,
        )
        self.alarms = self._counter(
            "alarms",
            "Records that alarm at the artifact's own alpha, whatever alpha a request asks for.",
            "model",
            "version",
            SEGMENT,
        )
        self.alarms_expected = self._counter(
            "alarms_expected",
            "Alarms that chance explains: the records that were scored, times the rate of false "
            "alarms that the calibration expects.",
            "model",
            "version",
            SEGMENT,
        )
        self.severity = self._many(
            "severity", "Severity (-log10 of the p-value) of scored records.", SEVERITIES
        )
        self.score = self._many("score", "Scores in nats; higher is more anomalous.", SCORES)
        self.request_seconds = self._many(
            "request_duration_seconds",
            "Seconds to answer a request.",
            SECONDS,
            "route",
            "method",
            "code",
        )
        self.scoring_seconds = self._many(
            "scoring_duration_seconds",
            "Seconds to score a batch of records that share one pass of the network.",
            SECONDS,
        )
        self._in_progress = self._gauge(
            "requests_in_progress", "Requests that have not been answered yet."
        )
        self.records_per_request = self._many(
            "records_per_request", "Records in a scoring request.", RECORDS
        )

        self._column_series()
        self.exchangeability = self._gauge(
            "exchangeability_log10",
            "log10 of a test martingale; chance exceeds 2 in at most 1% of streams.",
        )
        self.reloads = self._counter(
            "reloads",
            "Attempts to load an artifact by result: loaded, unchanged or refused.",
            "result",
        )
        self._recalibration_series()
        self._shadow_series()
        self.histories = HistorySeries(self.registry, PREFIX)
        self.incidents = IncidentSeries(self.registry, PREFIX)
        self.notifications = NotificationSeries(self.registry, PREFIX)
        self._connection_series()

    def _recalibration_series(self) -> None:
        self.recalibrations = self._counter(
            "recalibrations",
            "Recalibrations on recent traffic, by what became of a request: proposed, or refused "
            "at once; applied, or forced although it was refused; reverted; failed.",
            "result",
        )
        self._recalibrated_at = Gauge(
            f"{PREFIX}_recalibration_timestamp_seconds",
            "Unix time at which a recalibration was last applied or reverted; 0 if none was "
            "since the service started.",
            registry=self.registry,
            multiprocess_mode="max",
        )

    def _connection_series(self) -> None:
        self._connections = self._gauge("connections", "Open connections.")
        self.connections_refused = self._counter(
            "connections_refused",
            "Connections beyond the limit: for each the longest idle one was closed, or it was "
            "refused.",
        )
        self._counter(*WORKER_DEATHS)  # their parent counts it

    def count_reload(self, result: str) -> None:
        """Count a reload; `result` is one of RELOADS."""
        self.reloads.labels(result).inc()

    def count_recalibration(self, result: str) -> None:
        """Count a request to recalibrate; `result` is one of RECALIBRATIONS."""
        self.recalibrations.labels(result).inc()
        if result in CHANGED:
            self._recalibrated_at.set_to_current_time()

    def begin(
        self,
        model: str,
        version: str,
        columns: Iterable[str],
        segments: Iterable[str] = (NO_SEGMENT,),
    ) -> None:
        """Start every counter at 0: Prometheus sees no increase in a series that is new."""
        for segment in segments:
            for verdict in (NORMAL, ANOMALY):
                self.records.labels(model, version, verdict, segment)
            self.alarms.labels(model, version, segment)
            self.alarms_expected.labels(model, version, segment)
        self.records.labels(model, version, REJECTED, NO_SEGMENT)
        for result in RELOADS:
            self.reloads.labels(result)
        for result in RECALIBRATIONS:
            self.recalibrations.labels(result)
        for column in columns:
            for series in (self.missing, self.unknown, self.out_of_range, self.top_reason):
                series.labels(column)

    def _column_series(self) -> None:
        self.missing = self._counter("column_missing", "Missing values in a column.", "column")
        self.unknown = self._counter(
            "column_unknown", "Categories in a column that the fit data never had.", "column"
        )
        self.out_of_range = self._counter(
            "column_out_of_range",
            "Numbers in a column outside the range of the fit data.",
            "column",
        )
        self.top_reason = self._counter(
            "column_top_reason", "Alarms whose first reason is this column.", "column"
        )

    def _shadow_series(self) -> None:
        self.shadow_records = self._counter(
            "shadow_records", "Records that the shadow scored, by its verdict.", "verdict"
        )
        self.shadow_disagreements = self._counter(
            "shadow_disagreements",
            "Records on which the shadow and the model disagree, each at its own alpha.",
        )
        self.shadow_dropped = self._counter(
            "shadow_dropped", "Records that the shadow skipped because it was busy."
        )
        self.shadow_shift = self._many(
            "shadow_rank_shift",
            "Absolute difference between the shadow's p-value and the model's.",
            SHIFTS,
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        """A gauge that is summed over the live workers."""
        return Gauge(f"{PREFIX}_{name}", text, registry=self.registry, multiprocess_mode="livesum")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _many(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> BatchHistogram:
        return BatchHistogram(
            f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def flush(self) -> None:
        """Count what has been kept back."""
        self.tally.flush()
        self._in_progress.set(self.busy)
        self._connections.set(self.connections_open)

    def page(self, *live: Collector) -> bytes:
        """The body of a scrape: the sums over all workers, then the series of `live`, which hold
        only now.
        """
        now = CollectorRegistry()
        for collector in live:
            now.register(collector)
        return generate_latest(self._of_all_workers()) + generate_latest(now)

    def families(self) -> Iterable[Metric]:
        """The sums over all workers, for the console."""
        return self._of_all_workers().collect()

    def _of_all_workers(self) -> CollectorRegistry:
        shown = CollectorRegistry()
        if MULTIPROCESS not in os.environ:
            shown.register(WithoutEmpty(self.registry))
            return shown
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        shown.register(WithoutEmpty(registry))
        return shown


def deaths_of_workers() -> Counter:
    """Make the counter of their parent, which has no other series, in a file beside theirs."""
    reserve_files()
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    name, text = WORKER_DEATHS
    return Counter(f"{PREFIX}_{name}", text, registry=CollectorRegistry())


def build_version() -> str:
    return version("vaewatch")


CONTENT_TYPE = CONTENT_TYPE_LATEST
