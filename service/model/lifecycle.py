"""signals, routes and a watch -> which model answers.

A change loads an artifact, verifies it, and swaps it in; a bad one changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vaewatch.scoring.errors import ArtifactError, ScoringError
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.service.model.columns import require_history, require_same_columns
from vaewatch.service.model.errors import Conflict
from vaewatch.service.model.garbage import settle, settle_again
from vaewatch.service.model.loading import Loading
from vaewatch.service.model.model import Model, load_model
from vaewatch.service.model.registry import Registry
from vaewatch.service.model.shared import Served, remember, served
from vaewatch.service.settings import Settings
from vaewatch.service.signals import handle, parent_pid, take_changes

log = logging.getLogger("vaewatch.service")

Stamp = tuple[str, int, int]  # where an artifact is, when it was written, and its inode


@dataclass
class Lifecycle:
    """Changes the model of one process, one change at a time.

    count_reload: called with the result of each reload, for the metrics.
    """

    registry: Registry
    settings: Settings
    count_reload: Callable[[str], None]
    _loading: Loading = field(init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._loading = Loading(lambda: self.registry.draining)

    def start(self) -> None:
        """Load the artifacts that the settings name.

        Raises:
            ArtifactError: one of them cannot be served; the process ends.
        """
        registry, settings = self.registry, self.settings
        others = served(settings.workers_folder)
        if others is not None:
            registry.path = others.path
        registry.put(self._load_as_others(others))
        shadow = settings.shadow
        if shadow is not None and shadow != registry.path:  # it may have been promoted
            self._set_shadow(load_model(shadow, settings))

    def _load_as_others(self, others: Served | None) -> Model:
        """Load what the other workers answer from, if it is still there."""
        path, settings = self.registry.path, self.settings
        if others is not None:
            try:
                return replace(load_model(others.target, settings), path=path)
            except ArtifactError as error:
                log.warning("the artifact of the other workers is gone: %s", error)
        return load_model(path, settings)

    def _set_shadow(self, model: Model) -> None:
        self._require_pair(self.registry.active, model)
        self.registry.shadow = model

    def _require_pair(self, active: Model, shadow: Model) -> None:
        require_same_columns(active.scorer.artifact.schema, shadow.scorer.artifact.schema)
        require_history(self.settings, active.window is not None, shadow.window is not None)

    async def reload(self) -> str:
        """Load the artifact that is at the path now; returns 'loaded' or 'unchanged'.

        Raises:
            ArtifactError: it cannot be served, or not by all workers; the model that answered
                still does.
        """
        registry, settings = self.registry, self.settings
        async with self._lock:
            try:
                model = await self._loading.run(
                    str(registry.path), lambda: load_model(registry.path, settings)
                )
                self._require_fit(model)
                result = "unchanged" if self._is_active(model) else "loaded"
                if result == "loaded":
                    self._answer_from(model)
            except ScoringError as error:
                self.count_reload("refused")
                log.error("reload refused: %s", error)
                raise ArtifactError(str(error)) from error
            self.count_reload(result)
            log.info("reload: %s, version %s", result, model.name.version)
            return result

    def _require_fit(self, model: Model) -> None:
        shadow = self.registry.shadow
        if shadow is not None:
            self._require_pair(model, shadow)

    def _answer_from(self, model: Model, *, promoted: bool = False) -> None:
        """Answer from a model, once it is written down for the workers to come.

        Raises:
            ArtifactError: it cannot be; nothing has changed.
        """
        folder = self.settings.workers_folder
        try:
            remember(folder, model)
        except OSError as error:
            raise ArtifactError(
                f"'{folder}' must take which artifact the workers answer from, but cannot be "
                f"written: {error.strerror}. Make room there, and try again."
            ) from error
        self.registry.put(model, promoted=promoted)
        settle_again()

    def _is_active(self, model: Model) -> bool:
        active = self.registry.active
        return (active.name, active.fingerprint) == (model.name, model.fingerprint)

    async def promote(self) -> str:
        """Make the shadow the model that answers; returns its version.

        Raises:
            Conflict: there is no shadow.
            ArtifactError: not all workers could answer from it; nothing has changed.
        """
        registry = self.registry
        async with self._lock:
            shadow = registry.shadow
            try:
                if shadow is None:
                    raise Conflict("there must be a shadow to promote; start with --shadow DIR.")
                self._answer_from(shadow, promoted=True)
            except ScoringError as error:
                log.error("promotion refused: %s", error)
                raise
            registry.path, registry.shadow = shadow.path, None
            log.info("promoted: version %s", shadow.name.version)
            return shadow.name.version

    def signal_parent(self, sig: signal.Signals) -> None:
        """Have the parent pass a change on to the other workers, if there are any."""
        parent = parent_pid()
        if parent is not None:  # another one would be the first process of the machine
            os.kill(parent, sig)

    def listen(self) -> None:
        """Reload on SIGHUP, promote on SIGUSR1, which the parent of workers sends, and watch the
        path if the settings ask for it.
        """
        settle()
        handle(signal.SIGHUP, lambda: self._run(_unasked(self.reload())))
        handle(signal.SIGUSR1, lambda: self._run(_unasked(self.promote())))
        take_changes()
        if self.settings.watch:
            self._run(self._watch())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        registry = self.registry
        target = registry.active.target  # the link may have moved on since
        seen = await self._stamped(target, None)
        while True:
            await asyncio.sleep(self.settings.watch)
            if self.registry.draining:
                return
            now = await self._stamped(registry.path, seen)
            if now != seen:
                seen = now
                await _unasked(self.reload())

    async def _stamped(self, path: Path, seen: Stamp | None) -> Stamp | None:
        """Look at a path beside the event loop: where a disk does not answer, nothing changed."""
        try:
            return await self._loading.run(str(path), lambda: stamp(path))
        except ArtifactError as error:
            log.error("the watch of the artifact failed: %s", error)
            return seen

    def stop(self) -> None:
        """Cancel the changes that are under way, and the watch."""
        for task in self._tasks:
            task.cancel()


async def _unasked(change: Coroutine[Any, Any, str]) -> None:
    """Make a change that no request waits for: the log has its refusal."""
    try:
        await change
    except ScoringError:
        pass
    except Exception as error:
        log.error("a change of the model failed", exc_info=error)


def stamp(path: Path) -> Stamp | None:
    """Identify the artifact at a path: another one, by a link or by a rename, has another stamp.
    None: there is none.
    """
    try:
        found = (path.resolve() / MANIFEST).stat()
    except OSError:
        return None
    return str(path.resolve()), found.st_mtime_ns, found.st_ino
