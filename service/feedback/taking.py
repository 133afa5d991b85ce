"""rows of marks -> the store, a piece at a time, so that a service that uses it can write between.

Each mark is kept once by its id. So what was interrupted is simply taken again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from vaewatch.service.feedback import table
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import POSTGRESQL
from vaewatch.service.store.upsert import Row

AT_A_TIME = 500  # lines of one transaction
PAUSE = 0.1  # seconds; who waits for SQLite looks again after at most so long


@dataclass
class Taking:
    """Marks that are taken in.

    lines: those that are committed, in the order of their time. new: those that were not there.
    """

    lines: int = 0
    new: int = 0

    def take(self, database: Database, rows: Sequence[Row]) -> None:
        """Keep marks that are not there yet.

        Raises:
            StoreAway: the store does not answer; `lines` are committed, and maybe one piece more.
        """
        rows = sorted(rows, key=lambda row: row["at"])
        for start in range(0, len(rows), AT_A_TIME):
            if start and database.place.kind != POSTGRESQL:  # whose waiters stand in a queue
                time.sleep(PAUSE)
            some = rows[start : start + AT_A_TIME]
            with database.writing(alone=True) as connection:
                new = table.take(connection, some)
            self.lines, self.new = self.lines + len(some), self.new + new
