"""requests -> the store, in threads of its own, so that the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from vaewatch.service.http.problems import Overloaded
from vaewatch.service.model.errors import StoreAway
from vaewatch.service.store.database import AWAY, Database

MOST_WAITING = 64  # requests
THREADS = 2
SECONDS = 20.0  # a server that hangs ends no statement of its own accord

T = TypeVar("T")


@dataclass
class Desk:
    """Answers what requests ask of the store."""

    database: Database
    _waiting: int = 0
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(THREADS, thread_name_prefix="store")
    )

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Read in a transaction.

        Raises:
            StoreAway: the store does not answer.
            Overloaded: too many requests wait for it.
        """

        def run() -> T:
            with self.database.reading() as connection:
                return work(connection)

        return await self._run(run)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Write in a transaction, which is committed when this returns.

        Raises:
            StoreAway: the store does not answer. The same may be asked again.
            Overloaded: too many requests wait for it.
        """

        def run() -> T:
            with self.database.writing(alone=True) as connection:
                return work(connection)

        return await self._run(run)

    async def _run(self, run: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many requests wait for the store. Try again.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await asyncio.wait_for(loop.run_in_executor(self._threads, run), SECONDS)
        except TimeoutError as error:
            raise StoreAway(AWAY) from error
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop what waits, and end the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
