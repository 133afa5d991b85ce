"""Many imports at once, without a search for garbage among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage() -> Iterator[None]:
    """Import for the length of a block; what it made is left out of later collections.

    They make objects by the ten thousand that stay, PyTorch by the hundred thousand. To look
    through them again and again takes a seventh of the time that a command takes to start.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
