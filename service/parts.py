"""settings -> Service: the parts that one process shares between its requests."""

from __future__ import annotations

from dataclasses import dataclass

from vaewatch.scoring.scorer import Verdicts
from vaewatch.scoring.table import Table
from vaewatch.service.http.auth import Keys
from vaewatch.service.http.limits import Limits
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.engine import Engine
from vaewatch.service.settings import Settings
from vaewatch.service.watch.logs import AccessLog, levels_from
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.recent import Recent


@dataclass(frozen=True)
class Service:
    """One process's parts; requests carry it along."""

    settings: Settings
    keys: Keys
    registry: Registry
    limits: Limits
    metrics: Metrics
    monitor: Monitor
    engine: Engine
    access_log: AccessLog

    @classmethod
    def of(cls, settings: Settings) -> Service:
        written = levels_from(settings.log_level) if settings.access_log else frozenset[str]()
        registry, metrics = Registry(settings.artifact), Metrics()
        recent = Recent.of(settings) if settings.console else None
        monitor = Monitor(metrics, settings.workers_folder, recent)

        def observe(model: Model, table: Table, verdicts: Verdicts, seconds: float) -> None:
            metrics.tally.add(metrics.scoring_seconds, seconds)
            monitor.observe(model, table, verdicts)
            if registry.shadow is not None:
                registry.shadow.offer(table, verdicts)

        return cls(
            settings=settings,
            keys=Keys(settings),
            registry=registry,
            limits=Limits(settings),
            metrics=metrics,
            monitor=monitor,
            engine=Engine(observe),
            access_log=AccessLog(written),
        )
