"""settings -> Service: the parts that one process shares between its requests."""

from __future__ import annotations

from dataclasses import dataclass

from service.engine import Engine
from service.limits import Limits
from service.metrics import Metrics
from service.monitor import Monitor
from service.registry import Registry
from service.settings import Settings


@dataclass(frozen=True)
class Service:
    """One process's parts; requests carry it along."""

    settings: Settings
    registry: Registry
    limits: Limits
    metrics: Metrics
    monitor: Monitor
    engine: Engine

    @classmethod
    def of(cls, settings: Settings) -> Service:
        metrics = Metrics()
        monitor = Monitor(metrics)
        engine = Engine(monitor.observe)
        return cls(settings, Registry(settings), Limits(settings), metrics, monitor, engine)
