"""A scrape -> every metric in it: name, labels, type and help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from _ext.markdown import directive, sentence
from _ext.running import batch_metrics, observed

UNIT_LABELS = {"le"}  # of a histogram's buckets, which are listed beside it


def service_metrics() -> str:
    """What `GET /metrics` publishes."""
    return "\n".join(map(_entry, families(observed().metrics)))


def job_metrics() -> str:
    """What `vaewatch score --metrics-file` writes and `--pushgateway` sends."""
    return "\n".join(map(_entry, families(batch_metrics())))


def families(text: str) -> Iterator[Metric]:
    """The families of an exposition, without the moments at which counters were made."""
    for family in text_string_to_metric_families(text):
        if not family.name.endswith("_created"):
            yield family


def _entry(family: Metric) -> str:
    labels = ",".join(_labels(family))
    name = f"{family.name}_total" if family.type == "counter" else family.name
    shown = f"{name}{{{labels}}}" if labels else name
    facts = f"*{family.type}*"
    if family.type == "histogram":
        facts += f", buckets up to {', '.join(_buckets(family))}"
    return directive("metric", shown, f"{sentence(family.documentation)}\n\n{facts}")


def _labels(family: Metric) -> Iterable[str]:
    found = dict.fromkeys(label for sample in family.samples for label in sample.labels)
    return [label for label in found if label not in UNIT_LABELS]


def _buckets(family: Metric) -> Iterable[str]:
    edges = dict.fromkeys(s.labels["le"] for s in family.samples if "le" in s.labels)
    return [f"{float(edge):g}" for edge in edges if edge != "+Inf"]
