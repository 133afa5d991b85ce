"""what lives for long -> out of the garbage collector's sight, so that answers do not wait for it.

Imports and a model make some 50,000 objects. To look at all of them, which the collector did every
some thousand requests, takes as long as scoring a hundred records. Nor is there much to find:
nearly all that a request leaves behind goes without the collector.
"""

from __future__ import annotations

import gc

YOUNG = 10_000  # new objects before it looks at those; the default, 700, is met by 50 requests


def settle() -> None:
    """Take what is there now for permanent, until the next call. To be called when all is loaded,
    and after another model was: only then does anything large go.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
