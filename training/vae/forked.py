"""A warning in a process that was forked after torch had started threads, which it lacks."""

from __future__ import annotations

import os
import warnings
from functools import cache

_forked = False


@cache
def watch_forks() -> None:
    """Note from now on in each forked child that it is one."""
    os.register_at_fork(after_in_child=_note)


def _note() -> None:
    global _forked
    _forked = True


def warn_if_forked() -> None:
    """Warn, once in a process, that what comes may wait for ever."""
    global _forked
    if _forked:
        _forked = False
        warnings.warn(
            "this process was forked after a fit, and lacks the threads that the fit started, so "
            "it may wait for ever. Start processes with "
            "multiprocessing.get_context('spawn').",
            RuntimeWarning,
            stacklevel=3,
        )
