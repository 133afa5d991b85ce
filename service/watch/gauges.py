"""registry, window -> gauges that are computed at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vaewatch.scoring.budget.segments import OWN, POOLED, Segments
from vaewatch.scoring.schema import other_code
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.watch.families.shown import PREFIX
from vaewatch.service.watch.metrics import build_version
from vaewatch.service.watch.window import Totals

LEAST_RECORDS = 500  # with fewer a PSI is mostly noise, and is left out


class Present(Collector):
    """The gauges of one scrape. `window`: the sums over all workers."""

    def __init__(self, registry: Registry, window: Totals | None) -> None:
        self.registry, self.window = registry, window

    def collect(self) -> Iterable[Metric]:
        build = GaugeMetricFamily(
            f"{PREFIX}_build_info",
            "The release of vaewatch, as a label; the value is 1.",
            labels=["version"],
        )
        build.add_metric([build_version()], 1)
        yield build
        model = self.registry.model
        if model is not None:
            yield from _about(model)
        if model is not None and self.window is not None and self.window.records:
            yield from _window(model, self.window)


def _about(model: Model) -> Iterable[Metric]:
    labels = ["name", "version", "fingerprint"]
    info = GaugeMetricFamily(
        f"{PREFIX}_model_info", "The model that answers, as labels; the value is 1.", labels=labels
    )
    info.add_metric([model.name.name, model.name.version, model.fingerprint[:12]], 1)
    yield info
    for event, text, at in (
        ("created", "Unix time at which the model's artifact was made.", model.created_at),
        ("loaded", "Unix time at which the model was loaded.", model.loaded_at),
    ):
        yield GaugeMetricFamily(f"{PREFIX}_model_{event}_timestamp_seconds", text, value=at)
    yield from _budget(model)


def _budget(model: Model) -> Iterable[Metric]:
    low, high = model.rate_interval
    for suffix, text, rate in (
        ("", "The false-alarm rate that the model is calibrated for.", model.name.alpha),
        ("_lower", "Lower end of the 95% interval of the true false-alarm rate.", low),
        ("_upper", "Upper end of the 95% interval of the true false-alarm rate.", high),
    ):
        gauge = GaugeMetricFamily(f"{PREFIX}_alpha{suffix}", text, labels=["model", "version"])
        gauge.add_metric([model.name.name, model.name.version], rate)
        yield gauge
    alike = GaugeMetricFamily(
        f"{PREFIX}_alike",
        "How many records are worth one independent record, as far as alarms of normal records "
        "go: neighbours with a window, those of an entity where whole ones calibrate; else 1.",
        labels=["model", "version"],
    )
    alike.add_metric([model.name.name, model.name.version], model.alike)
    yield alike
    if (segments := model.scorer.artifact.segments) is not None:
        yield _segments(model, segments)


def _segments(model: Model, segments: Segments) -> Metric:
    gauge = GaugeMetricFamily(
        f"{PREFIX}_segment_alpha_upper",
        "Upper end of the 95% interval of the false-alarm rate of the calibration that judges a "
        "segment: its own, or the pooled one, which promises it to no single segment.",
        labels=["model", "version", "segment", "calibration"],
    )
    upper = [each.rate_law().interval()[1] for each in segments.calibrations]
    codes = np.arange(other_code(segments.column) + 1, dtype=np.int32)
    for code, slot in enumerate(segments.slots(codes).tolist()):
        labels = [segments.metric_labels[code], OWN if slot else POOLED]
        gauge.add_metric([model.name.name, model.name.version, *labels], upper[slot])
    return gauge


def _window(model: Model, window: Totals) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}_alpha_ratio",
        "Share of alarms among recent records, divided by alpha; 1 is the promise.",
        value=window.alarms / window.records / model.name.alpha,
    )
    yield GaugeMetricFamily(
        f"{PREFIX}_window_records",
        "Recent records in the window that drift is computed over.",
        value=window.records,
    )
    if window.records >= LEAST_RECORDS:
        drift = GaugeMetricFamily(
            f"{PREFIX}_column_drift_psi",
            "Population stability index of recent records against the calibration records.",
            labels=["column"],
        )
        chance = GaugeMetricFamily(
            f"{PREFIX}_column_drift_psi_by_chance",
            "Mean population stability index while nothing has changed.",
            labels=["column"],
        )
        reference = model.scorer.artifact.drift
        psi = reference.psi(np.array(window.counts, dtype=np.int64)).tolist()
        expected = reference.psi_by_chance(window.records).tolist()
        for name, value, usual in zip(reference.schema.names, psi, expected, strict=True):
            drift.add_metric([name], value)
            chance.add_metric([name], usual)
        yield from (drift, chance)
