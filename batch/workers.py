"""items -> work on several cores -> results, in the items' order.

Threads of one process would wait for each other: much of the work on an item is Python's, which
runs one thread at a time. So one thread works here, and each further core has a process.
"""

from __future__ import annotations

import glob
import logging
import math
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

log = logging.getLogger("vaewatch.batch")

In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 2  # items under way for each core: one is worked on while the next one travels
ALONE = 4  # so many items take no longer than a process takes to start


class Team:
    """A process for each core beyond the first; they end with the block."""

    def __init__(self, cores: int) -> None:
        self._cores, self._stack = cores, ExitStack()
        self._complete = True
        self.processes: list[_Process] = []

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, most: int | None = None) -> None:
        """Start them, `most` at most, unless they were started before."""
        if self.processes:
            return
        wanted = self._cores - 1
        for _ in range(wanted if most is None else min(most, wanted)):
            try:
                process = _Process()
            except OSError:
                return self.go_on()
            self._stack.callback(process.end)
            self.processes.append(process)

    def go_on(self) -> None:
        """Without one of them; say so once."""
        if self._complete:
            log.warning(
                "warning: a process of this job could not start or was ended (is there too little "
                "memory?). The others go on; --threads says how many there are."
            )
        self._complete = False


def in_order(items: Iterable[In], work: Callable[[In], Out], team: Team) -> Generator[Out]:
    """Work on items side by side; results in the items' order, and few of them in memory.

    Where the team has processes, items, work and results travel to them: they must pickle.
    """
    with ExitStack() as stack:
        desk = _Desk(work, team, stack)
        waiting: deque[tuple[In, Future[Out]]] = deque()
        for number, item in enumerate(items):
            if number == ALONE:
                team.start()
            waiting.append((item, desk.give(item)))
            if len(waiting) > AHEAD * desk.workers:
                yield desk.result(*waiting.popleft())
        while waiting:
            yield desk.result(*waiting.popleft())


class _Lost(Exception):
    """A process has ended: it was killed, or could not do the work."""


class _Desk(Generic[In, Out]):
    """Gives items to those who work on them: a thread here, and processes once they hold the
    work.
    """

    def __init__(self, work: Callable[[In], Out], team: Team, stack: ExitStack) -> None:
        self._work, self._team, self._stack = work, team, stack
        self._workers = [_Worker(work, 1, stack)]
        self._met = 0  # so many of the team's processes have been sent the work
        self._starting: list[tuple[_Worker, Future[Any]]] = []

    @property
    def workers(self) -> int:
        return len(self._workers)

    def give(self, item: In) -> Future[Out]:
        """To the worker that has least to do."""
        self._meet()
        return min(self._workers, key=_Worker.load).give(item)

    def _meet(self) -> None:
        for process in self._team.processes[self._met :]:
            self._met += 1
            worker = _Worker(process, AHEAD, self._stack)
            self._stack.callback(process.end)  # first, so that no thread waits for it
            self._starting.append((worker, worker.give(self._work)))
        for worker, started in [one for one in self._starting if one[1].done()]:
            self._starting.remove((worker, started))
            try:
                started.result()
            except _Lost:
                self._team.go_on()
            else:
                self._workers.append(worker)

    def result(self, item: In, future: Future[Out]) -> Out:
        """What a lost process had in its hands is done here, or fails here as it did there."""
        try:
            return future.result()
        except _Lost:
            result = self._work(item)
            self._team.go_on()
            return result


class _Worker:
    """Does items in threads of this process; those of another process wait for it."""

    def __init__(self, do: Callable[[Any], Any], threads: int, stack: ExitStack) -> None:
        self._do, self._threads = do, ThreadPoolExecutor(threads)
        self._under_way: deque[Future[Any]] = deque()
        self._lost = False
        stack.callback(self._threads.shutdown, cancel_futures=True)

    def give(self, item: Any) -> Future[Any]:
        self._under_way.append(self._threads.submit(self._do, item))
        return self._under_way[-1]

    def load(self) -> float:
        """How many items are under way; it is endless once one has failed."""
        while self._under_way and self._under_way[0].done():
            self._lost |= self._under_way.popleft().exception() is not None
        return math.inf if self._lost else len(self._under_way)


class _Process:
    """Holds the work and does it on items; the first item is the work. Started anew, not forked:
    the threads of libraries do not survive a fork.
    """

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._sending, self._receiving = Lock(), Lock()
        fresh = multiprocessing.get_context("spawn")
        self._process = fresh.Process(target=_serve, args=(theirs,), daemon=True)
        with theirs, ThreadPoolExecutor(1) as thread:
            thread.submit(self._start).result()

    def _start(self) -> None:
        """In a thread of its own, since Ctrl-C may interrupt the main one between two steps of
        this. What is started is deaf to it: it ends with this process.
        """
        ensure_running()  # else it starts now, and lets Ctrl-C in again when it has
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._process.start()

    def __call__(self, item: Any) -> Any:
        """May be called by two threads: an item travels while the one before it is worked on."""
        try:
            with self._sending:
                self._pipe.send(item)
                self._receiving.acquire()  # before another can send: answers come in that order
            try:
                return self._pipe.recv()
            finally:
                self._receiving.release()
        except (EOFError, OSError):
            raise _Lost from None

    def end(self) -> None:
        """At once, whatever it does."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection) -> None:
    """What the process runs, on one core, until the other one closes the pipe or is killed. At an
    item that fails it just ends: the other one tries that item too, and tells what is wrong.
    """
    os.environ["POLARS_MAX_THREADS"] = "1"
    import_module(
        "vaewatch.batch.stage"
    )  # most work needs it; the other one may be busy with its own
    with suppress(Exception):
        work = pipe.recv()
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv()))


def bytes_of(sources: Iterable[str]) -> int:
    """As far as it shows from outside: nothing of streams and objects, packed what is packed."""
    total = 0
    for source in sources:
        with suppress(OSError):
            folder = Path(source).is_dir()
            found = Path(source).iterdir() if folder else map(Path, glob.glob(source) or [source])
            total += sum(path.stat().st_size for path in found if path.is_file())
    return total
