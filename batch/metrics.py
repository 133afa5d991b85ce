"""the summary of a job -> metrics for Prometheus, in a file or at a Pushgateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, push_to_gateway, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from vaewatch.batch.summary import Summary
from vaewatch.batch.writer import writable
from vaewatch.scoring.budget.calibration import SEVERITIES
from vaewatch.scoring.errors import OutputError
from vaewatch.scoring.incidents.chance import RARE


def write_metrics(summary: Summary, target: Path) -> None:
    """Write a file for the node exporter's textfile collector; it is renamed into place."""
    with writable(str(target)):
        write_to_textfile(str(target), _Metrics(summary).registry())


def push_metrics(summary: Summary, url: str) -> None:
    """Push to a Pushgateway, as job `vaewatch_batch`, in a group by artifact name and shard."""
    metrics = _Metrics(summary)
    try:
        push_to_gateway(url, "vaewatch_batch", metrics.registry(), metrics.labels)
    except OSError as error:
        raise OutputError(
            f"--pushgateway: '{url}' must take metrics, but: {error}. The output is whole."
        ) from error


@dataclass(frozen=True, eq=False)
class _Metrics:
    """A collector of prometheus-client."""

    summary: Summary

    def registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def collect(self) -> Iterator[Metric]:
        """Gauges, not counters, since each job starts from zero."""
        counts = self.summary.counts
        verdicts = GaugeMetricFamily(
            "vaewatch_batch_records",
            "Records of the last job by verdict.",
            labels=[*self.labels, "verdict"],
        )
        for verdict, number in (
            ("normal", counts.judged - counts.anomalies),
            ("anomaly", counts.anomalies),
            ("rejected", counts.rejected),
            *self._not_judged(),
        ):
            verdicts.add_metric([*self.labels.values(), verdict], number)
        yield verdicts
        yield self._gauge(
            "alarms_expected",
            "Anomalies of the last job that chance explains; with --fdr, at most so many false.",
            self.summary.false,
        )
        yield from self._series()
        yield from self._incidents()
        yield self._severity()
        drift = GaugeMetricFamily(
            "vaewatch_batch_column_drift_psi",
            "PSI of a column.",
            labels=[*self.labels, "column"],
        )
        for column, psi in self.summary.drift().items():
            drift.add_metric([*self.labels.values(), column], psi)
        yield drift
        seconds = self.summary.seconds
        yield self._gauge("duration_seconds", "Seconds that the last job took.", seconds)
        yield self._gauge(
            "last_success_timestamp_seconds",
            "Unix time at which the last job ended successfully.",
            time.time(),
        )

    def _not_judged(self) -> list[tuple[str, int]]:
        """The records that have no full window, or are out of order, by what they are."""
        if (series := self.summary.counts.series) is None:
            return []
        names = ("warming_up", "late", "repeated")
        return [(name, getattr(series, name)) for name in names]

    def _series(self) -> Iterator[Metric]:
        """What is counted where records are judged with those before them."""
        series, incidents = self.summary.counts.series, self.summary.incidents
        if series is None or incidents is None:
            return
        yield self._gauge("entities", "Entities of the last job.", series.entities)
        text = "Entities that had to leave the history of the last job."
        yield self._gauge("entities_evicted", text, series.evicted)
        text = "Pauses of the last job after which a window began anew."
        yield self._gauge("gaps", text, series.gaps)
        text = "Judged records of the last job that came while the alarm of their entity lasted."
        yield self._gauge("records_lasting", text, series.lasting)
        text = "Other judged records of the last job, of entities that the model does not know."
        yield self._gauge("records_of_new_entities", text, series.new)
        text = "Incidents of the last job: alarms no further apart than a window are one."
        yield self._gauge("incidents", text, series.incidents)
        if incidents.foretold is not None:
            text = "Incidents of the last job that were foretold of normal traffic."
            yield self._gauge("incidents_expected", text, incidents.foretold * incidents.days)

    def _incidents(self) -> Iterator[Metric]:
        """What --incidents has written."""
        found = self.summary.counts.incidents
        if found is None:
            return
        text = "Incidents that --incidents of the last job has written."
        yield self._gauge("incidents_written", text, found.incidents)
        text = "Alarms in these."
        yield self._gauge("incidents_written_alarms", text, found.alarms)
        text = f"Those of them that are rarer than 1 in {1 / RARE:.0f} of those by chance."
        yield self._gauge("incidents_rare", text, found.rare)
        yield self._gauge("incidents_rare_alarms", "Alarms in the rare ones.", found.rare_alarms)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every series; each shard of a job has series of its own."""
        shard, model = self.summary.job.shard, {"model": self.summary.artifact.name}
        return model if shard is None else {**model, "shard": str(shard[0])}

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"vaewatch_batch_{name}", text, labels=list(self.labels))
        gauge.add_metric([*self.labels.values()], value)
        return gauge

    def _severity(self) -> Metric:
        edges = [*map(str, SEVERITIES), "+Inf"]
        below = self.summary.counts.severities.cumsum().tolist()
        histogram = HistogramMetricFamily(
            "vaewatch_batch_severity",
            "-log10 p of each record of the last job.",
            labels=list(self.labels),
        )
        buckets = list(zip(edges, below, strict=True))
        histogram.add_metric([*self.labels.values()], buckets, sum_value=None)
        return histogram
