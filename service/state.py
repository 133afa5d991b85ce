"""settings -> Service: the parts that one process shares between its requests."""

from __future__ import annotations

from dataclasses import dataclass

from scoring.records import Table
from scoring.scorer import Verdicts
from service.auth import Keys
from service.engine import Engine
from service.limits import Limits
from service.logs import AccessLog, levels_from
from service.metrics import Metrics
from service.model import Model
from service.monitor import Monitor
from service.recent import Recent
from service.registry import Registry
from service.settings import Settings


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
