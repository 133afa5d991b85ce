"""signals, routes and a watch -> which model answers: load, verify, swap; a bad artifact changes
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

from vaewatch.scoring.errors import ArtifactError, ScoringError
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.service.http.problems import Conflict
from vaewatch.service.model.garbage import settle
from vaewatch.service.model.model import Model, load_model
from vaewatch.service.model.shadow import Shadow, require_same_columns
from vaewatch.service.model.shared import Served, remember, served
from vaewatch.service.parts import Service

log = logging.getLogger("vaewatch.service")


@dataclass
class Lifecycle:
    """Changes the model of one process, one change at a time."""

    service: Service
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[object]] = field(default_factory=set)

    def start(self) -> None:
        """Load what the settings name; an ArtifactError ends the process."""
        registry, settings = self.service.registry, self.service.settings
        shadow = settings.shadow
        others = served(settings.workers_folder)
        if others is not None:
            registry.path = others.path
        registry.model = self._load_like(others)
        if shadow is not None and shadow != registry.path:  # it may have been promoted
            self._set_shadow(load_model(shadow, settings))

    def _load_like(self, others: Served | None) -> Model:
        """The model that the other workers answer from, if it is still there."""
        path, settings = self.service.registry.path, self.service.settings
        if others is not None:
            try:
                return replace(load_model(others.target, settings), path=path)
            except ArtifactError as error:
                log.warning("the artifact of the other workers is gone: %s", error)
        return load_model(path, settings)

    def _set_shadow(self, model: Model) -> None:
        active = self.service.registry.active.scorer.artifact.schema
        require_same_columns(active, model.scorer.artifact.schema)
        self.service.registry.shadow = Shadow(model, self.service.metrics)

    async def reload(self) -> str:
        """Load what is at the path now: 'loaded', or 'unchanged'.

        Raises:
            ArtifactError: it is not good; the model that answered still does.
        """
        registry, settings = self.service.registry, self.service.settings
        async with self._lock:
            try:
                model = await asyncio.to_thread(load_model, registry.path, settings)
                self._require_fit(model)
            except ScoringError as error:
                self.service.metrics.reloads.labels("refused").inc()
                log.error("reload refused: %s", error)
                raise ArtifactError(str(error)) from error
            result = "unchanged" if self._is_active(model) else "loaded"
            if result == "loaded":
                registry.model = model
                remember(settings.workers_folder, model)
                settle()
            self.service.metrics.reloads.labels(result).inc()
            log.info("reload: %s, version %s", result, model.name.version)
            return result

    def _require_fit(self, model: Model) -> None:
        shadow = self.service.registry.shadow
        if shadow is not None:
            require_same_columns(model.scorer.artifact.schema, shadow.model.scorer.artifact.schema)

    def _is_active(self, model: Model) -> bool:
        active = self.service.registry.active
        return (active.name, active.fingerprint) == (model.name, model.fingerprint)

    async def promote(self) -> str:
        """Make the shadow the model that answers; gives its version."""
        registry = self.service.registry
        async with self._lock:
            shadow = registry.shadow
            if shadow is None:
                raise Conflict("there must be a shadow to promote; start with --shadow DIR.")
            registry.model, registry.path, registry.shadow = shadow.model, shadow.model.path, None
            shadow.close()
            remember(self.service.settings.workers_folder, registry.active)
            settle()
            log.info("promoted: version %s", registry.active.name.version)
            return registry.active.name.version

    def tell_others(self, sig: signal.Signals) -> None:
        """Have the parent pass a change on to the other workers."""
        if self.service.settings.workers_folder is not None:
            os.kill(os.getppid(), sig)

    def listen(self) -> None:
        """SIGHUP reloads, and SIGUSR1, which the parent of workers sends, promotes."""
        settle()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._run(self.reload()))
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._run(self.promote()))
        self._run(self._tick())
        if self.service.settings.watch:
            self._run(self._watch())

    def _run(self, work: object) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        """Count what was kept back, so that another worker's scrape is at most a second late."""
        while True:
            await asyncio.sleep(1)
            self.service.monitor.flush()

    async def _watch(self) -> None:
        registry = self.service.registry
        seen = stamp(registry.active.target)  # the link may have moved on since
        while True:
            await asyncio.sleep(self.service.settings.watch)
            now = stamp(registry.path)
            if now != seen:
                seen = now
                await _quietly(self.reload())

    def stop(self) -> None:
        """End the tasks, and count what is left."""
        for task in self._tasks:
            task.cancel()
        self.service.monitor.flush()


async def _quietly(work: object) -> None:
    """A change that nobody waits for: its refusal is in the log and the metrics already."""
    try:
        await work  # type: ignore[misc]
    except (ScoringError, Conflict):
        pass


def stamp(path: Path) -> tuple[str, int, int] | None:
    """Changes when another artifact is put at a path, by a link or by a rename."""
    try:
        found = (path.resolve() / MANIFEST).stat()
    except OSError:
        return None
    return str(path.resolve()), found.st_mtime_ns, found.st_ino
