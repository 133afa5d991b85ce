"""histories <-> a file beside the service, so that a restart need not warm up again."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic, time

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.files.whole import write_whole
from vaewatch.scoring.intake.damage import BROKEN
from vaewatch.scoring.series.kept import KeptError
from vaewatch.service.model.model import Model
from vaewatch.service.series.memory import Memory, Snapshot, packed

log = logging.getLogger("vaewatch.service")

EVERY_SECONDS = 60.0
Copy = tuple[int, Snapshot | None]  # the how many-th one it is, from 1; what the memory held
Between = Callable[[Callable[[], None]], Awaitable[None]]  # calls a function between two batches


@dataclass
class HistoryFile:
    """Keeps the histories of a memory in a file, which is whole at any time."""

    path: Path
    memory: Memory
    _saved: float = field(default_factory=monotonic)
    _lock: Lock = field(default_factory=Lock)  # one is written at a time
    _taken: int = 0  # copies of the memory
    _written: int = 0  # the number of the newest copy that the file has had

    def require_writable(self) -> None:
        """Refuse a file that could not be written later.

        Raises:
            SettingError: it is a folder, or lies in none that can be written.
        """
        folder = self.path.resolve().parent
        other = self.path.exists() and not self.path.is_file()
        if other or not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise SettingError(
                "--history-file must be a file in a folder that can be written, got "
                f"'{self.path}'."
            )

    def read(self, model: Model) -> None:
        """Take what the file holds; without one, or with that of other features, entities warm up
        again, and the log says so.
        """
        try:
            age = time() - self.path.stat().st_mtime
            found = self.memory.restore(model, self.path.read_bytes())
        except FileNotFoundError:
            log.info("history file '%s' is not there yet: entities warm up", self.path)
        except (OSError, KeptError, *BROKEN) as error:
            log.warning(
                "history file '%s' is not used, entities warm up again: %s",
                self.path,
                error if isinstance(error, KeptError) else type(error).__name__,
            )
        else:
            log.info(
                "history file '%s': %s entities, as they were %.0f seconds ago",
                self.path,
                f"{found:,}",
                max(age, 0.0),
            )

    async def save_in_time(self, between: Between) -> None:
        """Write the file if it is a minute old; requests are answered meanwhile."""
        if monotonic() - self._saved < EVERY_SECONDS:
            return
        self._saved = monotonic()
        copies: list[Copy] = []
        await between(lambda: copies.append(self._copy()))
        await asyncio.to_thread(self._write, copies[0])

    def save(self) -> None:
        """Write the file now, at the end, when nothing is judged any more."""
        self._write(self._copy())

    def _copy(self) -> Copy:
        self._taken += 1
        return self._taken, self.memory.snapshot()

    def _write(self, copy: Copy) -> None:
        """Write a copy, unless a newer one was written: at the end of a service one may still be
        under way in a thread. The file is as it was if that fails.
        """
        number, snapshot = copy
        with self._lock:
            if snapshot is None or number < self._written:
                return
            try:
                write_whole(self.path, packed(snapshot))
                self._written = number
            except OSError as error:
                log.error("history file '%s' cannot be written: %s", self.path, error.strerror)
