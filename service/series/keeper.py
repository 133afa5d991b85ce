"""What happens to histories beside requests: a file each minute, a look at Redis each second."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.series.choice import described
from vaewatch.service.series.file import Between, HistoryFile
from vaewatch.service.series.histories import Histories, Seen
from vaewatch.service.series.memory import Memory
from vaewatch.service.settings import MEMORY, REDIS, Settings
from vaewatch.service.watch.families.histories import HistorySeries

log = logging.getLogger("vaewatch.service")

STEP = 1.0  # seconds


@runtime_checkable
class Remote(Protocol):
    """Histories that another process keeps."""

    away: bool

    def probe(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class HistoryKeeper:
    """Keeps the histories of one process."""

    settings: Settings
    registry: Registry
    histories: Histories
    between: Between
    series: HistorySeries
    _file: HistoryFile | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        histories, path = self.histories, self.settings.history_file
        if isinstance(histories, Memory) and path is not None:
            self._file = HistoryFile(path, histories)
            self._file.require_writable()

    def start(self, model: Model) -> None:
        """Say what histories may take, and read those that were kept."""
        if model.window is None:
            return
        mode, size = self.settings.history_mode, model.window.size
        if mode in (MEMORY, REDIS):
            found = described(self.settings, model)
            log.info(
                "histories: %s, at most %s records of each of at most %s entities, about %.1f MB",
                mode,
                f"{size - 1:,}",
                f"{self.settings.max_entities:,}",
                found["bytes"] / 1e6,
            )
        else:
            log.info("histories: stateless, each request brings its own of %d records", size)
        gap = model.window.gap / 1e6
        if mode == REDIS and gap > self.settings.history_ttl:
            log.warning("--history-ttl is shorter than the gap of a window, %.0f seconds", gap)
        if self._file is not None:
            self._file.read(model)
            self.note(Seen(self._file.memory.held))
        remote = self._remote
        if remote is not None:
            remote.probe()

    @property
    def _remote(self) -> Remote | None:
        return self.histories if isinstance(self.histories, Remote) else None

    def note(self, seen: Seen) -> None:
        """Count what became of histories."""
        self.series.note(seen.held, seen.gaps, seen.evicted, seen.forgotten)

    async def keep(self) -> None:
        """Look after histories until the service ends."""
        while True:
            await asyncio.sleep(STEP)
            try:
                await self._look()
            except Exception as error:
                log.error("histories were not looked after", exc_info=error)

    async def _look(self) -> None:
        remote, model = self._remote, self.registry.model
        if model is None or model.window is None:
            self.registry.away = False  # nothing needs histories
        elif remote is not None:
            await asyncio.to_thread(remote.probe)
            self.series.away.set(float(remote.away))
        if self._file is not None:
            await self._file.save_in_time(self.between)

    def close(self) -> None:
        """Write the file for the last time; no request is under way any more."""
        if self._file is not None:
            self._file.save()
        remote = self._remote
        if remote is not None:
            remote.close()
