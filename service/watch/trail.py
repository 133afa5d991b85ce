"""judged records of a model with a window -> where each stands among its neighbours.

Neighbouring windows share records, so that their scores are alike. What is computed of them later
must know which follow one another: an entity is a number of 32 bits made of its name, which is
never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.table import Table
from vaewatch.service.model.model import Model

SECTION = 16  # windows' lengths: a sample holds sections of an entity's time whole, or not at all


@dataclass(frozen=True)
class Trail:
    """The places of N judged records.

    entities: (N,) uint32. moments: (N,) in microseconds.
    spaced: (N,) which are so far apart that their scores do not depend on each other.
    tickets: (N,) uint32, alike for the records of one section, in every worker.
    """

    entities: NDArray[np.uint32]
    moments: NDArray[np.int64]
    spaced: NDArray[np.bool_]
    tickets: NDArray[np.uint32]

    @classmethod
    def of(cls, model: Model, table: Table) -> Trail | None:
        """Return the places of a table's records; None for a model without a window.

        Spaced are at most one in `spacing` steps of an entity's time, whatever batch it comes in.
        """
        window, moments = model.window, table.times
        if window is None or moments is None:
            return None
        names = [""] * len(table) if table.entities is None else table.entities
        entities = np.array([crc32(name.encode()) for name in names], np.uint32)
        step = max(window.step, 1)
        spaced = moments // step % model.spacing == entities % model.spacing
        sections = moments // (SECTION * window.size * step)
        return cls(entities, moments, spaced, mixed(entities, sections))

    @classmethod
    def joined(cls, parts: Sequence[Trail]) -> Trail:
        """Join parts, of which there is at least one."""
        return cls(
            np.concatenate([part.entities for part in parts]),
            np.concatenate([part.moments for part in parts]),
            np.concatenate([part.spaced for part in parts]),
            np.concatenate([part.tickets for part in parts]),
        )

    def only(self, rows: NDArray[np.bool_] | slice) -> Trail:
        """Return the places of some of the records, (N,)."""
        places = self.entities[rows], self.moments[rows]
        return Trail(*places, self.spaced[rows], self.tickets[rows])


def mixed(entities: NDArray[np.uint32], sections: NDArray[np.int64]) -> NDArray[np.uint32]:
    """(N,), (N,) -> (N,) numbers that look random, the same of the same (Steele, Lea & Flood,
    2014).
    """
    x = (entities.astype(np.uint64) << np.uint64(32)) ^ sections.astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32)
