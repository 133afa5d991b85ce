"""settings -> one process, or a parent and its workers on one socket.

The parent scores nothing: it replaces a worker that dies, and passes signals on. Counters live in
files of the workers, so that a replaced worker's counts stay in the sum.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Timer
from types import FrameType

from prometheus_client import multiprocess

from vaewatch.service.http.listening import Listener, announce, listen
from vaewatch.service.http.server import server_of
from vaewatch.service.model.model import load_model
from vaewatch.service.model.shared import remember
from vaewatch.service.settings import Settings
from vaewatch.service.watch.metrics import MULTIPROCESS
from vaewatch.service.watch.window import forget

log = logging.getLogger("vaewatch.service")

PAUSE = 1.0  # seconds before a worker that died young is replaced
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1)


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    if settings.workers > 1:
        model = load_model(settings.artifact, settings)  # refuse a bad one before it listens
        with _meeting_place() as folder:
            remember(folder, model)
            Parent(replace(settings, workers_folder=folder)).run()
        return
    server = server_of(settings)
    listener = listen(settings)
    announce(listener.address)
    server.run_on(listener)


@contextmanager
def _meeting_place() -> Iterator[Path]:
    """A folder for the workers' counters, there as long as the parent is."""
    folder = Path(tempfile.mkdtemp(prefix="vaewatch-"))
    os.environ[MULTIPROCESS] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work(settings: Settings, sock: socket.socket) -> None:
    """The life of one worker."""
    from vaewatch.service.watch.logs import set_up

    set_up(settings.log_level)
    server_of(settings).run([sock])


@dataclass
class Parent:
    """Keeps the workers alive."""

    settings: Settings
    _workers: dict[int, SpawnProcess] = field(default_factory=dict)  # by slot
    _born: dict[int, float] = field(default_factory=dict)
    _stopping: bool = False
    _listener: Listener = field(init=False)

    def run(self) -> None:
        self._listener = listen(self.settings)
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._stop)
        for sig in PASSED_ON:
            signal.signal(sig, self._pass_on)
        announce(self._listener.address)
        while not self._stopping:
            self._fill()
            wait([worker.sentinel for worker in self._workers.values()], timeout=PAUSE)
            self._bury()
        self._end()

    def _fill(self) -> None:
        context = multiprocessing.get_context("spawn")
        for slot in range(self.settings.workers):
            young = time.monotonic() - self._born.get(slot, -PAUSE) < PAUSE
            if slot not in self._workers and not young and not self._stopping:
                worker = context.Process(target=work, args=(self.settings, self._listener.sock))
                worker.start()
                self._workers[slot], self._born[slot] = worker, time.monotonic()

    def _bury(self) -> None:
        for slot, worker in list(self._workers.items()):
            if worker.exitcode is not None:
                del self._workers[slot]
                self._forget(worker)
                if not self._stopping:
                    log.error("worker %s died with %s; replaced", worker.pid, worker.exitcode)

    def _forget(self, worker: SpawnProcess) -> None:
        """Drop what only holds for the living; counters stay."""
        assert worker.pid is not None
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
        assert self.settings.workers_folder is not None
        forget(self.settings.workers_folder, worker.pid)

    def _signal(self, sig: int) -> None:
        for worker in list(self._workers.values()):
            if worker.pid is not None and worker.exitcode is None:
                os.kill(worker.pid, sig)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if not self._stopping:
            timer = Timer(self.settings.drain_seconds, self._close)  # workers listen a bit longer
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
