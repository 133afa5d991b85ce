"""How a training run reports how far it has come."""

from __future__ import annotations

from collections.abc import Callable

# called with the phase, the steps done and the steps in all (0 if unknown)
Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Report nothing."""
