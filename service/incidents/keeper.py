"""What happens to incidents beside requests: one thread delivers alarms to the store each second,
ends what has ended, and looks at what the store holds.

The service scores on while the store is away. Alarms wait meanwhile, up to a limit.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from time import sleep

from sqlalchemy import Connection, case, false, func, select

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.incidents.rule import merge_gap_of
from vaewatch.service.incidents import patterns
from vaewatch.service.incidents.arrivals import Arrivals
from vaewatch.service.incidents.ending import close_ended, forget_old
from vaewatch.service.incidents.ledger import (
    ENDED,
    OPENED,
    Change,
    Ledger,
    revision_of,
    touched,
)
from vaewatch.service.incidents.precision import counted, precision_of
from vaewatch.service.incidents.stream import Batch, Stream
from vaewatch.service.model.errors import StoreAway, StoreBusy
from vaewatch.service.model.model import Model
from vaewatch.service.settings import Settings
from vaewatch.service.store.database import Database, is_ill
from vaewatch.service.store.moments import DAY, now
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import incidents
from vaewatch.service.watch.families.incidents import IncidentSeries, Standing
from vaewatch.service.watch.judged import Judged

log = logging.getLogger("vaewatch.service")

STEP = 1.0  # seconds
MOST_BATCHES = 20  # in one step
BREATH = 0.05  # seconds after each, in which another worker takes the lock that waits for it
TRIES = 3  # of a batch that an error keeps from being taken, while the store answers
HOUR = 3600  # steps
LOOKED_BACK = 28 * DAY


@dataclass
class IncidentKeeper:
    """Keeps the incidents of one process in the store that all share."""

    settings: Settings
    database: Database
    series: IncidentSeries
    arrivals: Arrivals = field(default_factory=Arrivals)
    standing: Standing | None = None
    _source: str = field(default_factory=lambda: secrets.token_hex(8))
    _streams: dict[Model, Stream] = field(default_factory=dict)
    _batch: Batch | None = None
    _tries: int = 0
    _steps: int = 0
    _seen: dict[str, int] = field(default_factory=dict)  # revisions, by scope
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="incidents")
    )

    @classmethod
    def of(cls, settings: Settings, series: IncidentSeries) -> IncidentKeeper:
        database = Database(Place.of(settings.store, settings.workers_folder))
        return cls(settings, database, series)

    @cached_property
    def place(self) -> Place:
        return self.database.place

    def start(self, model: Model) -> None:
        """Say where incidents are kept, and look whether the store is there."""
        self.series.begin(model.scorer.artifact.schema.names)
        try:
            self.database.probe()
            with self.database.reading() as connection:
                self.standing = _standing(connection, now(), self.settings.notify_chance)
        except StoreAway:
            pass  # it is in the log; the service scores without it
        if self.place.lasts:
            log.info("incidents and feedback: %s", self.place)
        else:
            log.info(
                "incidents and feedback are gone when the service stops; --store "
                "sqlite:///FILE or postgresql://HOST/DATABASE keeps them"
            )

    def add(self, model: Model, judged: Judged) -> None:
        """Take records that were judged; what they bring is delivered later."""
        self.arrivals.add(self._stream(model), judged)

    def _stream(self, model: Model) -> Stream:
        if model not in self._streams:
            gap = merge_gap_of(self.settings.merge_gap, timed=True)
            self._streams = {model: Stream.of(model.scorer.artifact, gap)}
            self.series.begin(model.scorer.artifact.schema.names)  # others than those before
        return self._streams[model]

    async def keep(self) -> None:
        """Look after incidents until the service ends."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(STEP)
            await loop.run_in_executor(self._threads, self.step)

    def step(self) -> None:
        """Deliver what waits, end what has ended, and look at the store."""
        try:
            if self.database.away:
                self.database.probe()
            for _ in range(MOST_BATCHES):
                if not self._deliver():
                    break
                if self.arrivals:
                    sleep(BREATH)
            self._look()
        except StoreAway:
            pass  # it is in the log
        except Exception as error:
            log.error("incidents were not looked after", exc_info=error)
        self.series.away.set(float(self.database.away))
        self.series.waiting.set(self._waiting)
        dropped, self.arrivals.dropped = self.arrivals.dropped, 0
        self.series.dropped.inc(dropped)

    @property
    def _waiting(self) -> int:
        """How many alarms the store has not taken yet."""
        return len(self.arrivals) + (0 if self._batch is None else len(self._batch.alarms))

    def _deliver(self) -> bool:
        """Deliver a batch; returns whether there was one."""
        if self._batch is None:
            self._batch, self._tries = self.arrivals.batch(), 0
        batch = self._batch
        if batch is None:
            return False
        self._tries += 1
        try:
            with self.database.writing(alone=True) as connection:
                changes = Ledger(connection, now()).take(self._source, batch)
        except StoreBusy:
            self._tries = 0
            raise
        except Exception as error:
            if not self._is_lost(batch, error):
                raise
        else:
            self._count(changes)
        self._batch = None
        return True

    def _is_lost(self, batch: Batch, error: Exception) -> bool:
        """Give a batch up that the store does not take although it is well: it would hold up all
        that come after it.
        """
        if self._tries < TRIES or is_ill(error.__cause__):
            return False
        self.database.probe()
        log.error("%d alarms are dropped, the store does not take them", len(batch.alarms))
        log.error("the last reason", exc_info=error)
        self.series.dropped.inc(len(batch.alarms))
        return True

    def _count(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.what == OPENED:
                self.series.open(change.main, silenced=bool(change.pattern))
            if change.what == ENDED:
                self.series.duration.observe(change.seconds)

    def _look(self) -> None:
        """Learn of other workers' alarms, and of what has ended."""
        moment, limit = now(), self.settings.notify_chance
        with self.database.reading() as connection:
            self._learn(connection)
            ended = close_ended(connection, moment, only_look=True)
            self.standing = _standing(connection, moment, limit)
        if ended:
            with self.database.writing(alone=True) as connection:
                changes = close_ended(connection, moment)
            self._count(changes)
        self._steps += 1
        if self._steps % HOUR == 1:
            with self.database.writing(alone=True) as connection:
                days = self.settings.keep_incidents
                forget_old(connection, moment - days * DAY, lasts=self.place.lasts)

    def _learn(self, connection: Connection) -> None:
        for stream in self._streams.values():
            revision, seen = revision_of(connection), self._seen.get(stream.scope, 0)
            if revision > seen:
                self.arrivals.want(stream.scope, touched(connection, stream.scope, seen))
            self._seen = {stream.scope: revision}

    def close(self) -> None:
        """Deliver what waits, for the last time, and say what is lost."""
        self._threads.shutdown(wait=True)
        if not self.database.away:
            self.step()
        if lost := self._waiting:
            log.error("%d alarms are in no incident: the store took none until the end", lost)
            self.series.dropped.inc(lost)
        self.database.close()


def _standing(connection: Connection, moment: int, limit: float) -> Standing:
    t = incidents.c
    unsaid = func.coalesce(t.label, "") != Label.EXPECTED
    still = (t.closed == false(), t.ends >= moment, t.pattern == "", unsaid)
    rarely = func.coalesce(func.sum(case((t.chance <= limit, 1), else_=0)), 0)
    rare, every = connection.execute(select(rarely, func.count()).where(*still)).one()
    said = counted(connection, moment - LOOKED_BACK)
    precision = precision_of(said.get(Label.CONFIRMED, 0), said.get(Label.FALSE_ALARM, 0))
    active = len(patterns.silences(connection, moment))
    return Standing(rare, every - rare, active, precision)
