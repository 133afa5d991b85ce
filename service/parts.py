"""settings -> Service: the parts of one process, put together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from vaewatch.scoring.table import Table
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.http.auth import Keys
from vaewatch.service.http.limits import Limits
from vaewatch.service.incidents.keeper import IncidentKeeper
from vaewatch.service.model.lifecycle import Lifecycle
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.notify.notifier import Notifier
from vaewatch.service.recalibrate.recalibrations import Recalibrations
from vaewatch.service.recalibrate.store import Store
from vaewatch.service.score.engine import Engine
from vaewatch.service.series.choice import histories_of
from vaewatch.service.series.keeper import HistoryKeeper
from vaewatch.service.settings import MEMORY, Settings
from vaewatch.service.store.desk import Desk
from vaewatch.service.watch.logs import AccessLog, levels_from
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.monitor import Monitor
from vaewatch.service.watch.place import PlaceOf
from vaewatch.service.watch.recent import Recent
from vaewatch.service.watch.scores import Scores
from vaewatch.service.watch.shadow import Shadow

log = logging.getLogger("vaewatch.service")


@dataclass(frozen=True)
class Service:
    """The parts of one process; none of them knows this class."""

    settings: Settings
    keys: Keys
    registry: Registry
    lifecycle: Lifecycle
    limits: Limits
    metrics: Metrics
    monitor: Monitor
    shadow: Shadow
    engine: Engine
    access_log: AccessLog
    recalibrations: Recalibrations
    histories: HistoryKeeper
    incidents: IncidentKeeper
    desk: Desk
    notifier: Notifier

    @classmethod
    def of(cls, settings: Settings) -> Service:
        levels = levels_from(settings.log_level) if settings.access_log else frozenset[str]()
        registry, metrics = Registry(settings.artifact), Metrics()
        recent = Recent.of(settings) if settings.console else None
        folder = settings.workers_folder
        incidents = IncidentKeeper.of(settings, metrics.incidents)
        monitor = Monitor(metrics, folder, recent, Scores(folder), incidents.add)
        shadow = Shadow(registry, metrics, kept=settings.history_mode == MEMORY)

        def observe(
            model: Model, table: Table, verdicts: Verdicts, seconds: float, place_of: PlaceOf
        ) -> None:
            metrics.tally.add(metrics.scoring_seconds, seconds)
            monitor.observe(model, table, verdicts, place_of)
            shadow.offer(model, table, verdicts)

        engine = Engine(observe, histories_of(settings, registry))
        lane = engine.lane
        histories = HistoryKeeper(
            settings, registry, lane.histories, lane.between, metrics.histories
        )
        lane.note = histories.note
        lifecycle = Lifecycle(registry, settings, metrics.count_reload)
        desk, kept = Desk(incidents.database), Store(folder)
        return cls(
            settings=settings,
            keys=Keys(settings),
            registry=registry,
            lifecycle=lifecycle,
            limits=Limits(settings, metrics),
            metrics=metrics,
            monitor=monitor,
            shadow=shadow,
            engine=engine,
            access_log=AccessLog(levels),
            recalibrations=Recalibrations(registry, lifecycle, monitor, metrics, kept, desk),
            histories=histories,
            incidents=incidents,
            desk=desk,
            notifier=Notifier.of(settings, incidents.database, registry, metrics.notifications),
        )

    def close(self) -> None:
        """Stop changing models, and write what has been kept back. A step that fails does not keep
        the others from being taken: the last alarms are delivered in one of them.
        """
        for step in (
            self.lifecycle.stop,
            self.histories.close,
            self.monitor.flush,
            self.desk.close,
            self.notifier.close,
            self.incidents.close,
            self.access_log.flush,
            self.shadow.close,
            self.engine.close,
        ):
            try:
                step()
            except Exception as error:
                log.error("at the end %s failed", step.__qualname__, exc_info=error)
