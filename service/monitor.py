"""batches -> what Prometheus hears of them: kept back, counted some hundred records at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scoring.records import Table
from scoring.scorer import Verdicts
from service.metrics import PREFIX, Metrics, build_version
from service.registry import Model, Registry

MOST_KEPT = 512  # records, then they are counted without waiting for a scrape


@dataclass
class Monitor:
    """What the records of the answered requests looked like."""

    metrics: Metrics
    _kept: list[tuple[Model, Table, Verdicts]] = field(default_factory=list)
    _records: int = 0

    def observe(self, model: Model, table: Table, verdicts: Verdicts) -> None:
        """Take note of a batch; cheap, the counting comes later."""
        self._kept.append((model, table, verdicts))
        self._records += len(table)
        if self._records >= MOST_KEPT:
            self.flush()

    def reject(self, model: Model, n: int) -> None:
        """Count records that were not scored."""
        name = model.name
        self.metrics.records.labels(name.name, name.version, "rejected").inc(n)

    def flush(self) -> None:
        """Count all that was kept back."""
        kept, self._kept, self._records = self._kept, [], 0
        by_model: dict[Model, list[tuple[Table, Verdicts]]] = {}
        for model, table, verdicts in kept:
            by_model.setdefault(model, []).append((table, verdicts))
        for model, batches in by_model.items():
            self._count(model, [verdicts for _, verdicts in batches])

    def _count(self, model: Model, batches: list[Verdicts]) -> None:
        metrics, name = self.metrics, model.name
        alarms = sum(int(v.is_anomaly.sum()) for v in batches)
        total = sum(len(v) for v in batches)
        metrics.records.labels(name.name, name.version, "anomaly").inc(alarms)
        metrics.records.labels(name.name, name.version, "normal").inc(total - alarms)
        metrics.severity.observe_many(np.concatenate([v.severity for v in batches]))
        metrics.score.observe_many(np.concatenate([v.score for v in batches]))


@dataclass(eq=False)
class Present(Collector):
    """What holds at the moment of a scrape, and needs no history."""

    registry: Registry

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(f"{PREFIX}_build_info", "The release.", labels=["version"])
        build.add_metric([build_version()], 1)
        yield build
        if self.registry.model is not None:
            yield from _about(self.registry.model)


def _about(model: Model) -> Iterable[Metric]:
    labels = ["name", "version", "fingerprint"]
    info = GaugeMetricFamily(f"{PREFIX}_model_info", "The model that answers.", labels=labels)
    info.add_metric([model.name.name, model.name.version, model.fingerprint[:12]], 1)
    yield info
    yield GaugeMetricFamily(
        f"{PREFIX}_model_loaded_timestamp_seconds", "When it was loaded.", value=model.loaded_at
    )
