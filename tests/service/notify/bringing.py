"""Alarms -> incidents of a store, by the way that a service takes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import update

from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.grouping import Rule
from vaewatch.scoring.incidents.rule import Kind, Rules
from vaewatch.service.incidents.ending import close_ended
from vaewatch.service.incidents.ledger import Ledger
from vaewatch.service.incidents.stream import Batch, Stream
from vaewatch.service.notify.notification import ModelName
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import leases

SECOND = 10**6
START = 1_790_000_000 * SECOND
GAP = 300 * SECOND
MODEL = ModelName("pumps", "d213a4c00b1d")
RULES = Rules(Kind.ENTITY, True, Rule(GAP, True, 0.01, 0.013))


@dataclass
class Traffic:
    """Alarms of one worker. Times are seconds since START.

    live: the store takes them by its own clock, as in a service that reads records of before.
    """

    database: Database
    source: str = field(default_factory=lambda: uuid4().hex)
    stream: Stream = field(default_factory=lambda: Stream("it", RULES))
    live: bool = False
    _number: int = 0

    def bring(self, n: int, at: float, group: str = "m1", *, now: float | None = None) -> None:
        """Bring n alarms, a second apart, among no other records; by default as they happen."""
        start = START + round(at * SECOND)
        moments = [start + i * SECOND for i in range(n)]
        causes = (Cause("amount", 1),)
        alarms = [Alarm(m, group, 3.0, 1e-3, causes, f"r{i}") for i, m in enumerate(moments)]
        counts: dict[int, int] = {}
        for moment in moments:
            bucket = RULES.rule.bucket(moment)
            counts[bucket] = counts.get(bucket, 0) + 1
        self._number += 1
        batch = Batch(self._number, self.stream, alarms, {group: counts})
        with self.database.writing(alone=True) as connection:
            moment = start if now is None else START + round(now * SECOND)
            moment = int(time.time() * SECOND) if self.live else moment
            Ledger(connection, moment).take(self.source, batch)

    def end(self, at: float) -> None:
        """Note which incidents have ended by a time."""
        with self.database.writing(alone=True) as connection:
            close_ended(connection, START + round(at * SECOND))


@contextmanager
def stored(path: Path) -> Iterator[Database]:
    """A store in a file, until the block ends."""
    database = Database(Place.of(f"sqlite:///{path}/store.sqlite"))
    yield database
    database.close()


def end_leases(database: Database) -> None:
    """Have the time of those who were killed be over."""
    with database.writing() as connection:
        connection.execute(update(leases).values(until=0))


def seconds(at: float) -> float:
    """The Unix time of a moment."""
    return START / SECOND + at
