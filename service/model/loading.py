"""A load that may hang -> its model, while the service goes on and can still be stopped.

A load runs in a thread that nothing waits for at the end of the process. One that hangs, on a disk
that does not answer, stays behind; the model that answered still does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.deadline import LOAD_SECONDS, late, started

STEP = 0.02  # seconds between looks at whether the load has ended or the service stops
MOST_HUNG = 3  # loads that are left behind; each may hold the memory of a model

Result = TypeVar("Result")


@dataclass
class Loading:
    """Runs the loads of one process beside its event loop.

    stopping: whether the service is about to end, so that no load is waited for.
    """

    stopping: Callable[[], bool]
    seconds: float = LOAD_SECONDS
    _hung: list[Future[Any]] = field(default_factory=list)

    async def run(self, what: str, work: Callable[[], Result]) -> Result:
        """Return the result of work on `what`.

        Raises:
            ArtifactError: it takes too long, the service stops, or too many loads hang already.
        """
        if self.stopping():
            raise self._left(what)
        self._hung = [future for future in self._hung if not future.done()]
        if len(self._hung) >= MOST_HUNG:
            raise ArtifactError(
                f"'{what}' is not loaded: {MOST_HUNG} loads before it have not ended. Mend the "
                "disk that they read, or restart the service."
            )
        future, until = started(work), time.monotonic() + self.seconds
        while not future.done():
            if self.stopping() or time.monotonic() > until:
                self._hung.append(future)
                raise self._left(what)
            await asyncio.sleep(STEP)
        return future.result()

    def _left(self, what: str) -> ArtifactError:
        if self.stopping():
            return ArtifactError(f"'{what}' is not loaded: the service is stopping.")
        return late(what, self.seconds)
