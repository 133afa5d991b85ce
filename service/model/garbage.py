"""Keep long-lived objects out of the garbage collector's sight: answers must not wait for it.

Imports and a model make some 50,000 objects. Going through all of them, as the collector would
every few thousand requests, takes as long as scoring a hundred records, and finds next to nothing:
nearly all that a request leaves behind is freed by its reference counts.
"""

from __future__ import annotations

import gc

YOUNG = 10_000  # new objects that start a collection; the default, 700, is reached in 50 requests


def settle() -> None:
    """Free what is garbage now, and exempt everything else from collection. Call it once all is
    loaded: what its imports have exempted already is not gone through.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def settle_again() -> None:
    """Go through everything once more. Call it whenever a model has been replaced."""
    gc.unfreeze()
    settle()
