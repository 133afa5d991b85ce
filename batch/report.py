"""counts of a finished job -> a summary, and metrics for Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, push_to_gateway, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from batch.errors import OutputError
from batch.job import SEVERITIES, Counts, Job
from batch.writer import writable, write_small
from scoring.artifact import Artifact

BANDS = (0.5, 1.0, 2.0, 3.0, np.inf)  # upper edges, each one of SEVERITIES


@dataclass(frozen=True, eq=False)
class Report:
    """A job that came to its end. seconds: of this run, which scored all but the `earlier`."""

    artifact: Artifact
    job: Job
    counts: Counts
    earlier: Counts
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second of this run."""
        return (self.counts.records - self.earlier.records) / self.seconds

    def drift(self) -> dict[str, float]:
        """PSI of each column against the records of training; nothing where nothing was scored."""
        if not self.counts.scored:
            return {}
        psi = self.artifact.drift.psi(self.counts.drift)
        return dict(zip(self.artifact.schema.names, psi.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "model": {"name": self.artifact.name, "version": self.artifact.version},
            "inputs": list(self.job.sources),
            "output": self.job.out,
            "rejects": self.job.rejects,
            "alpha": self.artifact.calibration.alpha if self.job.alpha is None else self.job.alpha,
            "records": counts.records,
            "scored": counts.scored,
            "written": counts.written,
            "rejected": counts.rejected,
            "anomalies": counts.anomalies,
            "anomaly_rate": counts.anomaly_rate,
            "severity": {
                "upper": [*SEVERITIES, None],
                "records": counts.severities.tolist(),
            },
            "column_drift_psi": self.drift(),
            "seconds": round(self.seconds, 3),
            "records_of_earlier_runs": self.earlier.records,
            "records_per_second": round(self.rate),
        }

    def collect(self) -> Iterator[Metric]:
        """As prometheus-client asks for it; gauges, since each job starts from nothing."""
        counts = self.counts
        verdicts = GaugeMetricFamily(
            "vaewatch_batch_records", "Records of the last job.", labels=[*self.labels, "verdict"]
        )
        for verdict, number in (
            ("normal", counts.scored - counts.anomalies),
            ("anomaly", counts.anomalies),
            ("rejected", counts.rejected),
        ):
            verdicts.add_metric([*self.labels.values(), verdict], number)
        yield verdicts
        yield self._severity()
        drift = GaugeMetricFamily(
            "vaewatch_batch_column_drift_psi",
            "PSI of a column.",
            labels=[*self.labels, "column"],
        )
        for column, psi in self.drift().items():
            drift.add_metric([*self.labels.values(), column], psi)
        yield drift
        yield self._gauge("duration_seconds", "How long the last job took.", self.seconds)
        yield self._gauge("last_success_timestamp_seconds", "When it ended.", time.time())

    @property
    def labels(self) -> dict[str, str]:
        """Of every series: a shard's are its own, whatever the others of the job leave."""
        model = {"model": self.artifact.name}
        return model if self.job.shard is None else {**model, "shard": str(self.job.shard[0])}

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"vaewatch_batch_{name}", text, labels=list(self.labels))
        gauge.add_metric([*self.labels.values()], value)
        return gauge

    def _severity(self) -> Metric:
        edges = [*map(str, SEVERITIES), "+Inf"]
        below = self.counts.severities.cumsum().tolist()
        histogram = HistogramMetricFamily(
            "vaewatch_batch_severity",
            "-log10 p of each record of the last job.",
            labels=list(self.labels),
        )
        buckets = list(zip(edges, below, strict=True))
        histogram.add_metric([*self.labels.values()], buckets, sum_value=None)
        return histogram


@dataclass(frozen=True)
class Band:
    """Records of a range of severities; normal: the share that normal traffic has there."""

    name: str
    records: int
    share: float
    normal: float


def severity_bands(counts: Counts) -> list[Band]:
    """Of normal traffic a share of 10^-s has a severity of s or more: its p-values are uniform."""
    upper = np.array([*SEVERITIES, np.inf])
    bands, low = [], 0.0
    for high in BANDS:
        records = int(counts.severities[(upper > low) & (upper <= high)].sum())
        name = f"{low:g} to {high:g}" if high < np.inf else f"over {low:g}"
        normal = 10**-low - (10**-high if high < np.inf else 0.0)
        bands.append(Band(name, records, records / max(counts.scored, 1), normal))
        low = high
    return bands


def write_summary(report: Report, target: str) -> None:
    """Whole or not at all."""
    write_small(target, json.dumps(report.to_json(), indent=1).encode() + b"\n")


def write_metrics(report: Report, target: Path) -> None:
    """For the node exporter's textfile collector; prometheus-client renames it into place."""
    registry = CollectorRegistry()
    registry.register(report)
    with writable(str(target)):
        write_to_textfile(str(target), registry)


def push_metrics(report: Report, url: str) -> None:
    """To a Pushgateway, as job `vaewatch_batch`, in a group for each artifact's name and shard."""
    registry = CollectorRegistry()
    registry.register(report)
    try:
        push_to_gateway(url, "vaewatch_batch", registry, report.labels)
    except OSError as error:
        raise OutputError(
            f"--pushgateway: '{url}' must take metrics, but: {error}. The output is whole."
        ) from error
