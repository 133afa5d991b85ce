"""pieces -> Ray actors -> scored pieces, in order: the same bytes as on one machine.

The driver reads and writes; what takes the time, parsing and the network, is done by actors. Each
one loads the model once. A piece whose actor dies is given to the next one. Few pieces are under
way, so that memory stays bounded and reading waits when scoring is behind.
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

from vaewatch.batch.stage import Item, Scored, Stage
from vaewatch.batch.workers import AHEAD

COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Worker:
    """An actor: it holds the model from its first piece on, and again after a restart."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def score(self, item: Item, stage: list[Any]) -> Scored:
        """`stage` holds the reference to a Stage."""
        import ray

        self._stage = self._stage or ray.get(stage[0])
        return self._stage.score(item)


def run_on_ray(items: Iterable[Item], stage: Stage) -> Generator[Scored]:
    """On an actor for each thread, in the cluster of RAY_ADDRESS or a new local one."""
    import ray

    joined = ray.is_initialized()
    with redirect_stdout(_Chatter()):
        if not joined:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        try:
            yield from _in_order(ray, items, stage)
        finally:
            if not joined:
                ray.shutdown()


class _Chatter(io.TextIOBase):
    """What Ray prints, of a worker that died for one, goes to stderr as plain text: it would
    stand in the middle of an output that goes to stdout.
    """

    def write(self, text: str) -> int:
        return sys.stderr.write(COLOUR.sub("", text))


def _in_order(ray: Any, items: Iterable[Item], stage: Stage) -> Iterator[Scored]:
    actor = ray.remote(Worker).options(num_cpus=1, max_restarts=-1, max_task_retries=-1)
    held = [ray.put(stage)]
    workers = [actor.remote() for _ in range(stage.job.threads)]
    waiting: deque[Any] = deque()
    for number, item in enumerate(items):
        waiting.append(workers[number % len(workers)].score.remote(item, held))
        if len(waiting) > AHEAD * len(workers):
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())
