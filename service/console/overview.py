"""metrics, monitor, registry -> all that the console shows, summed over the workers."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from prometheus_client import Metric
from prometheus_client.samples import Sample

from vaewatch.scoring.artifact import REPORT
from vaewatch.scoring.budget.calibration import SEVERITIES
from vaewatch.scoring.budget.windows import expected_of_windows
from vaewatch.service.console.budget import Budget, budget_of
from vaewatch.service.console.columns import ColumnState, columns_of
from vaewatch.service.console.health import Health, health_of, lasting_of, new_of
from vaewatch.service.console.segments import SegmentState, expected_of, loud, segments_of
from vaewatch.service.http.auth import Keys
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.settings import Settings
from vaewatch.service.watch.families.shown import PREFIX
from vaewatch.service.watch.metrics import Metrics, build_version
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.recent import SPAN_SECONDS, Memory, Recent

SCORING = ("/v1/score", "/v2/")  # routes whose times are shown


class RecordCounts(msgspec.Struct):
    """Records by their verdict, since the service started."""

    normal: int = 0
    anomaly: int = 0
    rejected: int = 0


class Latency(msgspec.Struct):
    """The times of scoring requests since the start, in seconds: (bounds + 1,) counts, each of its
    bucket alone.
    """

    bounds: list[float]
    counts: list[int]


class ModelSummary(msgspec.Struct):
    """One model, as people see it."""

    name: str
    version: str
    fingerprint: str
    alpha: float
    calibration_records: int
    rate_interval: tuple[float, float]
    created_at: float
    loaded_at: float
    report: bool  # whether the artifact has one
    window: int | None  # the records that are judged together
    time: str | None  # the column of the records' own times


class ShadowSummary(msgspec.Struct):
    """The shadow, and how its verdicts differ."""

    model: ModelSummary
    records: int
    anomalies: int
    disagreements: int
    dropped: int


class Overview(msgspec.Struct):
    """The body of `GET /console/state`: for the page alone, any release may change it.

    may_mark: whether the key of the page may say what incidents were.
    """

    now: float
    release: str
    workers: int
    keys: bool
    may_mark: bool
    values: bool
    max_records: int
    health: Health
    budget: Budget
    evidence: float
    records: RecordCounts
    latency: Latency
    severities: tuple[float, ...]
    span_seconds: int
    recent: Memory
    columns: list[ColumnState]
    segments: list[SegmentState]
    model: ModelSummary
    shadow: ShadowSummary | None


@dataclass(frozen=True)
class Sources:
    """Where the overview comes from."""

    settings: Settings
    registry: Registry
    metrics: Metrics
    monitor: Monitor
    recent: Recent
    keys: Keys


def overview_of(sources: Sources, *, may_mark: bool = True) -> Overview:
    """Look at everything now; what this worker keeps back is counted first."""
    sources.monitor.flush()
    recent, model = sources.recent, sources.registry.active
    window = sources.monitor.window(model)
    artifact, series = model.scorer.artifact, samples_of(sources.metrics.families())
    fitted = artifact.manifest.series
    expected = (
        expected_of(artifact.segments, window)
        if fitted is None
        else expected_of_windows(artifact.calibration, fitted, window.records)
    )
    budget = budget_of(artifact.calibration, window.records, window.alarms, expected)
    columns = columns_of(artifact.drift, window)
    segments = segments_of(artifact.segments, window)
    evidence = _total(series, "exchangeability_log10")
    draining, memory = sources.registry.draining, recent.memory()
    records = sum(span.records for span in memory.spans)
    lasting = lasting_of(sum(span.lasting for span in memory.spans), records)
    new = sum(span.new for span in memory.spans) if artifact.of_new is None else 0
    return Overview(
        now=time.time(),
        release=build_version(),
        workers=sources.settings.workers,
        keys=sources.keys.wanted,
        may_mark=may_mark,
        values=recent.values,
        max_records=sources.settings.max_records,
        health=health_of(
            budget,
            columns,
            evidence,
            draining=draining,
            loud=loud(segments),
            lasting=lasting,
            new=new_of(new, records),
        ),
        budget=budget,
        evidence=evidence,
        records=_record_counts(series),
        latency=latency_of(series),
        severities=SEVERITIES,
        span_seconds=SPAN_SECONDS,
        recent=memory,
        columns=columns,
        segments=segments,
        model=_model(model),
        shadow=_shadow(sources.registry.shadow, series),
    )


Series = dict[str, list[Sample]]


def samples_of(families: Iterable[Metric]) -> Series:
    """Group samples by their names, without the prefix."""
    found: Series = defaultdict(list)
    for family in families:
        for sample in family.samples:
            found[sample.name.removeprefix(f"{PREFIX}_")].append(sample)
    return found


def _total(series: Series, name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(s.value for s in series.get(name, ()) if wanted <= s.labels.items())


def _record_counts(series: Series) -> RecordCounts:
    verdicts = ("normal", "anomaly", "rejected")
    return RecordCounts(*(int(_total(series, "records_total", verdict=v)) for v in verdicts))


def latency_of(series: Series) -> Latency:
    """Sum the buckets over all scoring routes and statuses."""
    up_to: dict[float, float] = defaultdict(float)
    for sample in series.get("request_duration_seconds_bucket", ()):
        if sample.labels["route"].startswith(SCORING):
            up_to[float(sample.labels["le"])] += sample.value
    bounds = sorted(up_to)
    below = [0.0, *(up_to[bound] for bound in bounds)]
    counts = [int(here - before) for before, here in zip(below, below[1:], strict=False)]
    return Latency([bound for bound in bounds if math.isfinite(bound)], counts)


def _model(model: Model) -> ModelSummary:
    artifact = model.scorer.artifact
    return ModelSummary(
        name=artifact.name,
        version=artifact.version,
        fingerprint=model.fingerprint[:12],
        alpha=artifact.calibration.alpha,
        calibration_records=artifact.calibration.n,
        rate_interval=model.rate_interval,
        created_at=model.created_at,
        loaded_at=model.loaded_at,
        report=REPORT in artifact.manifest.sha256,
        window=None if model.window is None else model.window.size,
        time=None if artifact.schema.time is None else artifact.schema.time.column,
    )


def _shadow(shadow: Model | None, series: Series) -> ShadowSummary | None:
    if shadow is None:
        return None
    return ShadowSummary(
        model=_model(shadow),
        records=int(_total(series, "shadow_records_total")),
        anomalies=int(_total(series, "shadow_records_total", verdict="anomaly")),
        disagreements=int(_total(series, "shadow_disagreements_total")),
        dropped=int(_total(series, "shadow_dropped_total")),
    )
