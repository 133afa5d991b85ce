"""A parent and its workers, which share one socket.

The parent scores nothing: it replaces workers that die, and passes signals on. The workers keep
their counters in files, so that the counts of a dead one stay in the sum.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Timer
from types import FrameType

from prometheus_client import Counter, multiprocess

from vaewatch.service.http.listening import Listener, announce, listen, notify
from vaewatch.service.model.shared import NAME
from vaewatch.service.settings import Settings
from vaewatch.service.signals import CHANGES, held_changes, ignore_changes, take_changes
from vaewatch.service.watch.families.files import give_room_back
from vaewatch.service.watch.metrics import MULTIPROCESS, deaths_of_workers
from vaewatch.service.watch.window import forget

log = logging.getLogger("vaewatch.service")

PREFIX = "vaewatch-workers-"  # of a folder that workers share
PAUSE = 1.0  # seconds before a worker that died young is replaced, twice as many each time
LONGEST_PAUSE = 30.0
YOUNG = 60.0  # seconds; one that lived longer is replaced at once

Work = Callable[[Settings, socket.socket, Connection], None]


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder for what the workers share; it goes when the block ends. Remove those that
    parents have left which were killed.
    """
    clear_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = hold(folder)
    os.environ[MULTIPROCESS] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def hold(folder: Path) -> int:
    """Mark a folder as in use until the descriptor that is returned closes, at the latest when the
    process ends, however that ends.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def clear_abandoned() -> None:
    """Remove the shared folders of this user that no process holds."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is in use, or somebody else's
            _clear(folder)


def _clear(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # what has no model in it is not ours, or is so new that its parent does not hold it yet
        if os.fstat(held).st_uid == os.geteuid() and (folder / NAME).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


@dataclass
class Parent:
    """Keeps the workers alive.

    work: serves until SIGTERM, and sends something when it is ready; a function of a module, as it
        is called in a process of its own.
    """

    settings: Settings
    work: Work
    _workers: dict[int, SpawnProcess] = field(default_factory=dict)  # by slot
    _born: dict[int, float] = field(default_factory=dict)
    _pauses: dict[int, float] = field(default_factory=dict)  # from one birth to the next
    _stopping: bool = False
    _reported: bool = False  # that it is ready
    _listener: Listener = field(init=False)
    _ready: tuple[Connection, Connection] = field(init=False)  # to be read, to be written
    _deaths: Counter = field(init=False)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and end with the last worker."""
        self._deaths = deaths_of_workers()
        self._listener = listen(self.settings)
        self._ready = Pipe(duplex=False)
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._stop)
        for sig in CHANGES:
            signal.signal(sig, self._pass_on)
        take_changes()
        announce(self._listener.address)
        while not self._stopping:
            self._fill()
            sentinels = [worker.sentinel for worker in self._workers.values()]
            came = wait([self._ready[0], *sentinels], timeout=PAUSE)
            if self._ready[0] in came:  # the first of them is enough
                self._ready[0].recv_bytes()
                self._report_ready()
            self._collect_dead()
        self._end()
        ignore_changes()

    def _report_ready(self) -> None:
        if not self._reported:
            self._reported = True
            notify("READY=1")

    def _fill(self) -> None:
        context = multiprocessing.get_context("spawn")
        for slot in range(self.settings.workers):
            if slot not in self._workers and not self._waits(slot) and not self._stopping:
                given = (self.settings, self._listener.sock, self._ready[1])
                worker = context.Process(target=self.work, args=given)
                with held_changes():  # until the worker handles them
                    try:
                        worker.start()
                    except (OSError, ValueError):
                        if not self._stopping:
                            raise
                        return  # its socket was closed while it was passed on
                self._workers[slot], self._born[slot] = worker, time.monotonic()
                if self._stopping:  # since it was started, when it could not be told
                    _send(worker, signal.SIGTERM)

    def _waits(self, slot: int) -> bool:
        """Whether it is too early for another worker: one that cannot live would be started over
        and over, and take the processor from the others.
        """
        return slot in self._pauses and self._age(slot) < self._pauses[slot]

    def _age(self, slot: int) -> float:
        return time.monotonic() - self._born[slot]

    def _collect_dead(self) -> None:
        for slot, worker in list(self._workers.items()):
            if worker.exitcode is not None:
                del self._workers[slot]
                pause = 2 * self._pauses.get(slot, PAUSE / 2) if self._age(slot) < YOUNG else PAUSE
                self._pauses[slot] = min(pause, LONGEST_PAUSE)
                self._forget(worker)
                if not self._stopping:
                    self._deaths.inc()
                    log.error("worker %s died with %s; replaced", worker.pid, worker.exitcode)

    def _forget(self, worker: SpawnProcess) -> None:
        """Drop what counts only for live workers; the counters stay."""
        assert worker.pid is not None
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        assert self.settings.workers_folder is not None
        give_room_back(self.settings.workers_folder, worker.pid)
        forget(self.settings.workers_folder, worker.pid)

    def _signal(self, sig: int) -> None:
        for worker in list(self._workers.values()):
            _send(worker, sig)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if not self._stopping:
            notify("STOPPING=1")
            timer = Timer(
                self.settings.drain_seconds, self._close
            )  # workers listen a little longer
            timer.daemon = True
            timer.start()
        self._stopping = True
        self._signal(signal.SIGTERM)

    def _close(self) -> None:
        self._listener.admit_no_more()
        self._listener.sock.close()  # it lives as long as the workers that accept from it

    def _pass_on(self, sig: int, frame: FrameType | None) -> None:
        self._signal(sig)

    def _end(self) -> None:
        patience = self.settings.drain_seconds + self.settings.stop_seconds + 5
        deadline = time.monotonic() + patience
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.exitcode is None:
                log.error("worker %s did not stop in %g seconds; killed", worker.pid, patience)
                worker.kill()
                worker.join()


def _send(worker: SpawnProcess, sig: int) -> None:
    if worker.pid is not None and worker.exitcode is None:
        with suppress(ProcessLookupError):  # it was collected a moment ago
            os.kill(worker.pid, sig)
