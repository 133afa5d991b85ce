"""Service -> State: all that the console shows, summed over the workers as in /metrics."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable

import msgspec
from prometheus_client import Metric
from prometheus_client.samples import Sample

from vaewatch.scoring.artifact import REPORT
from vaewatch.scoring.calibration import SEVERITIES
from vaewatch.service.console.budget import Budget, budget_of
from vaewatch.service.console.columns import ColumnState, columns_of
from vaewatch.service.console.health import Health, health_of
from vaewatch.service.model.model import Model
from vaewatch.service.parts import Service
from vaewatch.service.watch.metrics import PREFIX, build_version
from vaewatch.service.watch.recent import SPAN_SECONDS, Memory

SCORING = ("/v1/score", "/v2/")  # routes whose times are shown


class Records(msgspec.Struct):
    """Since the service started."""

    normal: int = 0
    anomaly: int = 0
    rejected: int = 0


class Latency(msgspec.Struct):
    """Scoring requests since the start: (bounds + 1,) counts, each of its bucket alone."""

    bounds: list[float]
    counts: list[int]


class ModelState(msgspec.Struct):
    """One model, for people."""

    name: str
    version: str
    fingerprint: str
    alpha: float
    calibration_records: int
    rate_interval: tuple[float, float]
    created_at: float
    loaded_at: float
    report: bool  # whether training left one


class ShadowState(msgspec.Struct):
    """What the second model would have said."""

    model: ModelState
    records: int
    anomalies: int
    disagreements: int
    dropped: int


class State(msgspec.Struct):
    """What `GET /console/state` answers; for the page alone, any release may change it."""

    now: float
    release: str
    workers: int
    keys: bool
    values: bool
    max_records: int
    health: Health
    budget: Budget
    evidence: float
    records: Records
    latency: Latency
    severities: tuple[float, ...]
    span_seconds: int
    recent: Memory
    columns: list[ColumnState]
    model: ModelState
    shadow: ShadowState | None


def state_of(service: Service) -> State:
    """The state now; what this worker kept back is counted first."""
    service.monitor.flush()
    recent = service.monitor.recent
    assert recent is not None, "the console's routes are there only with the console"
    model = service.registry.active
    window = service.monitor.window(model)
    artifact, series = model.scorer.artifact, samples_of(service.metrics.families())
    budget = budget_of(artifact.calibration, window.records, window.alarms)
    columns = columns_of(artifact.drift, window)
    evidence = _total(series, "exchangeability_log10")
    draining = service.registry.draining
    return State(
        now=time.time(),
        release=build_version(),
        workers=service.settings.workers,
        keys=service.keys.wanted,
        values=recent.values,
        max_records=service.settings.max_records,
        health=health_of(budget, columns, evidence, draining=draining),
        budget=budget,
        evidence=evidence,
        records=_records(series),
        latency=latency_of(series),
        severities=SEVERITIES,
        span_seconds=SPAN_SECONDS,
        recent=recent.memory(),
        columns=columns,
        model=_model(model),
        shadow=_shadow(service, series),
    )


Series = dict[str, list[Sample]]


def samples_of(families: Iterable[Metric]) -> Series:
    """Samples by name, without the prefix."""
    found: Series = defaultdict(list)
    for family in families:
        for sample in family.samples:
            found[sample.name.removeprefix(f"{PREFIX}_")].append(sample)
    return found


def _total(series: Series, name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(s.value for s in series.get(name, ()) if wanted <= s.labels.items())


def _records(series: Series) -> Records:
    verdicts = ("normal", "anomaly", "rejected")
    return Records(*(int(_total(series, "records_total", verdict=v)) for v in verdicts))


def latency_of(series: Series) -> Latency:
    """The buckets of every scoring route and answer, added up."""
    up_to: dict[float, float] = defaultdict(float)
    for sample in series.get("request_duration_seconds_bucket", ()):
        if sample.labels["route"].startswith(SCORING):
            up_to[float(sample.labels["le"])] += sample.value
    bounds = sorted(up_to)
    below = [0.0, *(up_to[bound] for bound in bounds)]
    counts = [int(here - before) for before, here in zip(below, below[1:], strict=False)]
    return Latency([bound for bound in bounds if math.isfinite(bound)], counts)


def _model(model: Model) -> ModelState:
    artifact = model.scorer.artifact
    return ModelState(
        name=artifact.name,
        version=artifact.version,
        fingerprint=model.fingerprint[:12],
        alpha=artifact.calibration.alpha,
        calibration_records=artifact.calibration.n,
        rate_interval=model.rate_interval,
        created_at=model.created_at,
        loaded_at=model.loaded_at,
        report=REPORT in artifact.manifest.sha256,
    )


def _shadow(service: Service, series: Series) -> ShadowState | None:
    shadow = service.registry.shadow
    if shadow is None:
        return None
    return ShadowState(
        model=_model(shadow.model),
        records=int(_total(series, "shadow_records_total")),
        anomalies=int(_total(series, "shadow_records_total", verdict="anomaly")),
        disagreements=int(_total(series, "shadow_disagreements_total")),
        dropped=int(_total(series, "shadow_dropped_total")),
    )
