"""Work that may never end -> its result, or an error in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from vaewatch.scoring.errors import ArtifactError

LOAD = "vaewatch-load"  # the name of the threads that load
LOAD_SECONDS = 120.0  # to read and verify an artifact; the largest take a few

Result = TypeVar("Result")


def started(work: Callable[[], Result], name: str = LOAD) -> Future[Result]:
    """Start work in a thread that the process does not wait for when it ends."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def within(seconds: float, what: str, work: Callable[[], Result]) -> Result:
    """Return the result of work on `what`, and leave the work behind if it takes longer.

    A thread cannot be stopped: one that hangs stays until the process ends, which it does not
    hold up. Signals are handled meanwhile.

    Raises:
        ArtifactError: it takes longer.
    """
    future = started(work)
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if future.done():  # the work's own
            raise
        raise late(what, seconds) from error


def late(what: str, seconds: float) -> ArtifactError:
    """Return the error of an artifact that takes too long to load."""
    return ArtifactError(
        f"'{what}' must load within {seconds:g} seconds, but does not. Copy it to a faster disk; "
        "if it is on one, do not use it."
    )
