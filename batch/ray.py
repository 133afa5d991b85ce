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

from vaewatch.batch.stage import In, Out, Work
from vaewatch.batch.workers import AHEAD

COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Worker:
    """An actor, which holds the model from its first chunk on, and again after a restart."""

    def __init__(self) -> None:
        self._work: Work[Any, Any] | None = None

    def score(self, chunk: Any, work: list[Any]) -> Any:
        """Score a chunk; `work` holds the reference to a Work."""
        import ray

        self._work = self._work or ray.get(work[0])
        return self._work.score(chunk)


def run_on_ray(chunks: Iterable[In], work: Work[In, Out]) -> Generator[Out]:
    """Score on an actor for each thread, in the cluster of RAY_ADDRESS or a new local one."""
    import ray

    joined = ray.is_initialized()
    with redirect_stdout(_Chatter()):
        if not joined:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        try:
            yield from _in_order(ray, chunks, work)
        finally:
            if not joined:
                ray.shutdown()


class _Chatter(io.TextIOBase):
    """Sends to stderr, as plain text, what Ray prints (when a worker dies, for example), which
    would otherwise end up in the middle of an output on stdout.
    """

    def write(self, text: str) -> int:
        return sys.stderr.write(COLOUR.sub("", text))


def _in_order(ray: Any, chunks: Iterable[In], work: Work[In, Out]) -> Iterator[Out]:
    actor = ray.remote(Worker).options(num_cpus=1, max_restarts=-1, max_task_retries=-1)
    held = [ray.put(work)]
    workers = [actor.remote() for _ in range(work.job.threads)]
    waiting: deque[Any] = deque()
    for number, chunk in enumerate(chunks):
        waiting.append(workers[number % len(workers)].score.remote(chunk, held))
        if len(waiting) > AHEAD * len(workers):
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())
