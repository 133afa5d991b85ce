"""A lease: what only one of all workers and replicas does at a time.

It ends by itself some seconds after its holder was killed. The time is the database's, where that
has one, so that machines whose clocks differ agree.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from sqlalchemy import Connection, text, update

from vaewatch.scoring.time.form import SECOND
from vaewatch.service.model.errors import StoreAway
from vaewatch.service.store.database import Database
from vaewatch.service.store.tables import leases

SECONDS = 30.0  # longer than one attempt to send takes


@dataclass
class Lease:
    """The lease of a name, for one holder."""

    database: Database
    name: str
    holder: str
    seconds: float = SECONDS
    lost: bool = field(default=False, init=False)  # its holder is to touch the store no more
    _until: float = field(default=0.0, init=False)  # of this process's clock

    def held(self) -> bool:
        """Return whether the holder has it, for half of its time at least: take it if it is free,
        and prolong it in time.

        Raises:
            StoreAway: the store does not answer.
        """
        before = monotonic()
        if before < self._until - self.seconds / 2:
            return True
        with self.database.writing() as connection:
            taken = self._take(connection)
        self._until = before + self.seconds if taken else 0.0
        return taken

    def release(self) -> None:
        """Let another one take it at once; where the store is away, when its time is over."""
        if self._until:
            self._until = 0.0
            mine = (leases.c.name == self.name) & (leases.c.holder == self.holder)
            with suppress(StoreAway), self.database.writing() as connection:
                connection.execute(update(leases).where(mine).values(until=0))

    def _take(self, connection: Connection) -> bool:
        now = clock(connection)
        connection.execute(
            text(
                "INSERT INTO vaewatch_leases (name, holder, until) VALUES (:name, '', 0) "
                "ON CONFLICT DO NOTHING"
            ),
            {"name": self.name},
        )
        free = (leases.c.holder == self.holder) | (leases.c.until < now)
        taken = update(leases).where(leases.c.name == self.name, free)
        until = now + round(self.seconds * SECOND)
        return connection.execute(taken.values(holder=self.holder, until=until)).rowcount == 1


def clock(connection: Connection) -> int:
    """Return the time that all holders share, in microseconds since 1970."""
    if connection.dialect.name != "postgresql":
        return time.time_ns() // 1000
    query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
    return int(connection.execute(text(query)).scalar_one())
