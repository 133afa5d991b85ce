"""Families of series as a scrape shows them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

PREFIX = "vaewatch"
SEGMENT = "segment"  # a label that is there only where the artifact has a segment
NO_SEGMENT = ""
SEGMENTED = tuple(f"{PREFIX}_{name}" for name in ("records", "alarms", "alarms_expected"))


class WithoutEmpty(Collector):
    """Leaves out the label of the segment where there is none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for family in self._registry.collect():
            if family.name in SEGMENTED:
                family.samples = list(map(_without_empty, family.samples))
            yield family


def _without_empty(sample: Sample) -> Sample:
    if sample.labels.get(SEGMENT) != NO_SEGMENT:
        return sample
    return sample._replace(labels={k: v for k, v in sample.labels.items() if k != SEGMENT})
