"""chunks -> work on several cores -> results, in the chunks' order.

Threads of one process would wait for each other, since much of the work on a chunk is Python code,
which runs in one thread at a time. So one thread works in this process, and each further core has
a process of its own.
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

AHEAD = 2  # chunks under way for each core: one is worked on while the next one travels
ALONE = 4  # so many chunks take no longer than a process takes to start


class Team:
    """A process for each core beyond the first. They end with the block."""

    def __init__(self, cores: int) -> None:
        self._cores, self._stack = cores, ExitStack()
        self._complete = True
        self.processes: list[_Process] = []

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self, most: int | None = None) -> None:
        """Start the processes, `most` at most, unless they were started before."""
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
        """Continue without one of the processes, and warn of it once."""
        if self._complete:
            log.warning(
                "warning: a process of this job could not start or was ended (is there too little "
                "memory?). The others go on; --threads says how many there are."
            )
        self._complete = False


def in_order(chunks: Iterable[In], work: Callable[[In], Out], team: Team) -> Generator[Out]:
    """Work on chunks in parallel. The results come in the chunks' order, with few in memory.

    If the team has processes, chunks, work and results must pickle to travel there and back.
    """
    with ExitStack() as stack:
        stack.callback(team.processes.clear)  # they end with this work; other work starts its own
        desk = _Desk(work, team, stack)
        waiting: deque[tuple[In, Future[Out]]] = deque()
        for number, chunk in enumerate(chunks):
            if number == ALONE:
                team.start()
            waiting.append((chunk, desk.give(chunk)))
            if len(waiting) > AHEAD * desk.workers:
                yield desk.result(*waiting.popleft())
        while waiting:
            yield desk.result(*waiting.popleft())


class _Lost(Exception):
    """A process has ended: it was killed, or the work raised."""


class _Desk(Generic[In, Out]):
    """Gives chunks to workers: a thread of this process, and processes once they hold the work."""

    def __init__(self, work: Callable[[In], Out], team: Team, stack: ExitStack) -> None:
        self._work, self._team, self._stack = work, team, stack
        self._workers = [_Worker(work, 1, stack)]
        self._met = 0  # how many of the team's processes were sent the work
        self._starting: list[tuple[_Worker, Future[Any]]] = []

    @property
    def workers(self) -> int:
        return len(self._workers)

    def give(self, chunk: In) -> Future[Out]:
        """Give a chunk to the worker that has the fewest."""
        self._meet()
        return min(self._workers, key=_Worker.load).give(chunk)

    def _meet(self) -> None:
        for process in self._team.processes[self._met :]:
            self._met += 1
            worker = _Worker(process, AHEAD, self._stack)
            self._stack.callback(process.end)  # runs first on exit, so that no thread waits for it
            self._starting.append((worker, worker.give(self._work)))
        for worker, started in [one for one in self._starting if one[1].done()]:
            self._starting.remove((worker, started))
            try:
                started.result()
            except _Lost:
                self._team.go_on()
            else:
                self._workers.append(worker)

    def result(self, chunk: In, future: Future[Out]) -> Out:
        """The result of a chunk. If its process was lost, the work is done, or fails, here."""
        try:
            return future.result()
        except _Lost:
            result = self._work(chunk)
            self._team.go_on()
            return result


class _Worker:
    """Works on chunks in threads; those of another process only wait for it."""

    def __init__(self, do: Callable[[Any], Any], threads: int, stack: ExitStack) -> None:
        self._do, self._threads = do, ThreadPoolExecutor(threads)
        self._under_way: deque[Future[Any]] = deque()
        self._lost = False
        stack.callback(self._threads.shutdown, cancel_futures=True)

    def give(self, chunk: Any) -> Future[Any]:
        self._under_way.append(self._threads.submit(self._do, chunk))
        return self._under_way[-1]

    def load(self) -> float:
        """How many chunks are under way; infinite once one has failed."""
        while self._under_way and self._under_way[0].done():
            self._lost |= self._under_way.popleft().exception() is not None
        return math.inf if self._lost else len(self._under_way)


class _Process:
    """A process that receives the work, and then chunks to do it on. It is spawned, not forked,
    since the threads of libraries do not survive a fork.
    """

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._sending, self._receiving = Lock(), Lock()
        fresh = multiprocessing.get_context("spawn")
        self._process = fresh.Process(target=_serve, args=(theirs,), daemon=True)
        with theirs, ThreadPoolExecutor(1) as thread:
            thread.submit(self._start).result()

    def _start(self) -> None:
        """Runs in a thread of its own, since Ctrl-C may interrupt the main thread between two
        steps of this. The new process ignores Ctrl-C, and ends with this one.
        """
        ensure_running()  # or `start` would do it, which unblocks Ctrl-C
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._process.start()

    def __call__(self, chunk: Any) -> Any:
        """Two threads may call this: a chunk travels while the one before it is worked on."""
        try:
            with self._sending:
                self._pipe.send(chunk)
                self._receiving.acquire()  # before another can send: answers come in that order
            try:
                return self._pipe.recv()
            finally:
                self._receiving.release()
        except (EOFError, OSError):
            raise _Lost from None

    def end(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection) -> None:
    """Run the process, on one core, until its parent closes the pipe or is killed. If a chunk
    raises, the process exits; the parent retries the chunk and reports the error.
    """
    os.environ["POLARS_MAX_THREADS"] = "1"
    logging.disable()  # the parent, which takes the first chunks, says what is said once
    import_module("vaewatch.batch.stage")  # most work needs it, and this process has the time
    with suppress(Exception):
        work = pipe.recv()
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv()))


def bytes_of(sources: Iterable[str]) -> int:
    """The bytes of all sources on disk, packed or not; streams and objects count as none."""
    total = 0
    for source in sources:
        with suppress(OSError):
            folder = Path(source).is_dir()
            found = Path(source).iterdir() if folder else map(Path, glob.glob(source) or [source])
            total += sum(path.stat().st_size for path in found if path.is_file())
    return total
