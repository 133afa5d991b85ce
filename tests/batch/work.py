"""Work for other processes. They import this module, so it imports none of the heavy ones."""

from __future__ import annotations

import multiprocessing
import os
import time


def slowly(chunk: int) -> tuple[int, int]:
    """Long enough that a process is there before the chunks are done. No chunk may be negative."""
    if chunk < 0:
        raise ValueError("a chunk must not be negative")
    time.sleep(0.02)
    return chunk, os.getpid()


def ending(chunk: int) -> int:
    """Ends each process that is not the first."""
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    time.sleep(0.02)
    return chunk
