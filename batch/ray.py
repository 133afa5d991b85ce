"""chunks -> Ray actors -> scored chunks, in order: the same bytes as on one machine.

The driver reads and writes, and actors do what takes the time: parsing and the network. Each actor
loads the model once. A chunk whose actor dies is scored again once the actor was restarted. Few
chunks are under way, so that memory stays bounded and reading waits when scoring falls behind.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import redirect_stdout
from typing import Any

from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.stage import ScoredChunk, Stage
from vaewatch.batch.workers import AHEAD

COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Worker:
    """An actor, which holds the model from its first chunk on, and again after a restart."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def score(self, chunk: FileChunk, stage: list[Any]) -> ScoredChunk:
        """Score a chunk; `stage` holds the reference to a Stage."""
        import ray

        self._stage = self._stage or ray.get(stage[0])
        return self._stage.score(chunk)


def run_on_ray(chunks: Iterable[FileChunk], stage: Stage) -> Generator[ScoredChunk]:
    """Score on an actor for each thread, in the cluster of RAY_ADDRESS or a new local one."""
    import ray

    joined = ray.is_initialized()
    with redirect_stdout(_Chatter()):
        if not joined:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        try:
            yield from _in_order(ray, chunks, stage)
        finally:
            if not joined:
                ray.shutdown()


class _Chatter(io.TextIOBase):
    """Sends to stderr, as plain text, what Ray prints (when a worker dies, for example), which
    would otherwise end up in the middle of an output on stdout.
    """

    def write(self, text: str) -> int:
        return sys.stderr.write(COLOUR.sub("", text))


def _in_order(ray: Any, chunks: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
    actor = ray.remote(Worker).options(num_cpus=1, max_restarts=-1, max_task_retries=-1)
    held = [ray.put(stage)]
    workers = [actor.remote() for _ in range(stage.job.threads)]
    waiting: deque[Any] = deque()
    for number, chunk in enumerate(chunks):
        waiting.append(workers[number % len(workers)].score.remote(chunk, held))
        if len(waiting) > AHEAD * len(workers):
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())
