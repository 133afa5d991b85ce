"""Signals at the wrong time: before they can be handled, and from or to a parent that has gone."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
CHANGES = (signal.SIGHUP, signal.SIGUSR1)  # reload, promote


def hold_changes() -> None:
    """Hold the signals that change the model until they are handled, else they end the process.
    Processes and threads that are started meanwhile hold them, too.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, CHANGES)


def handle(sig: signal.Signals, change: Callable[[], None]) -> None:
    """Have the running loop call a function when a signal comes.

    The loop's own way would have the signal end the process from the loop's end on, or from its
    handler's removal until it is ignored.
    """
    loop = asyncio.get_running_loop()
    signal.signal(sig, lambda *_: loop.call_soon_threadsafe(change))


def take_changes() -> None:
    """Take the signals that have been held, and those that come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CHANGES)


def ignore_changes() -> None:
    """Ignore them to the end of the process: what handles them ends before it does."""
    for sig in CHANGES:
        signal.signal(sig, signal.SIG_IGN)


@contextmanager
def held_changes() -> Iterator[None]:
    """Hold them while the block runs."""
    hold_changes()
    try:
        yield
    finally:
        take_changes()


def end_with_parent() -> None:
    """Have SIGTERM end this worker when its parent ends, however that ends. Only Linux does so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent_pid() is None:  # it ended before it could be said
        sys.exit(1)


def parent_pid() -> int | None:
    """The process that started this worker; None if it has ended, or this is no worker."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid == os.getppid() else None
