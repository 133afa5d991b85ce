"""Which models have answered lately, and since when: what a person compares alarms with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from msgspec import Struct

MOST = 50


class Load(Struct, frozen=True):
    """A model that began to answer. at: in Unix seconds. version: its own; before: of the model
    that answered until then, None at the start.
    """

    at: float
    version: str
    before: str | None
    promoted: bool = False


@dataclass
class Loads:
    """The last loads of one process; every worker loads what the others do."""

    _kept: deque[Load] = field(default_factory=lambda: deque(maxlen=MOST))

    def note(self, load: Load) -> None:
        """Remember a load; the oldest one is forgotten."""
        self._kept.append(load)

    def listed(self) -> list[Load]:
        """Return the loads, newest first."""
        return list(self._kept)[::-1]
