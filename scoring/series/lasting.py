"""alarms of entities in time -> which of them only repeat what has lasted.

A machine that is changed for good would alarm with each of its records from then on, and no
calibration on records from before could foresee it. So alarms are counted for some windows'
lengths. While they are a third of the usual number of records, what they report lasts: then a
record is compared with the entity's own alarms, too, and its p-value is the larger one of both.
What goes beyond these still alarms, and so does all that comes after the alarms have ceased.

Only alarms are remembered, so that an entity without any costs nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.window import ONE, Window

LENGTHS = 8  # windows' lengths for which alarms are remembered
SHARE = 1 / 3  # of the records of this time, usually; from so many alarms on it lasts

Floats = NDArray[np.float64]
Alarm = tuple[int, float]  # its moment and its score


@dataclass
class Alarms:
    """The moments and the scores of one entity's alarms, oldest first."""

    moments: array[int] = field(default_factory=lambda: array("q"))
    scores: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.moments)

    def add(self, alarm: Alarm) -> None:
        self.moments.append(alarm[0])
        self.scores.append(alarm[1])

    def forget(self, before: int, most: int) -> None:
        """Drop the alarms before a moment, and the oldest of more than `most`."""
        gone = max(bisect_left(self.moments, before), len(self) - most)
        if gone > 0:
            del self.moments[:gone], self.scores[:gone]

    def above(self, score: float) -> int:
        """Return how many alarms score at least as high."""
        return int((np.frombuffer(self.scores) >= score).sum())


@dataclass
class Lasting:
    """The alarms of entities within the last windows' lengths.

    most: entities that are remembered; those whose last alarm is longest ago leave first.
    """

    window: Window
    most: int | None = None
    entities: dict[str, Alarms] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records an entity has, usually, in the time that is remembered."""
        return LENGTHS * self.window.size

    def settle(
        self,
        entities: Sequence[str] | None,
        moments: NDArray[np.int64],
        rows: NDArray[np.int64],
        scores: Floats,
        p_values: Floats,
    ) -> NDArray[np.int64]:
        """Raise the p-values, (N,), of records that only repeat what lasts; return their rows.

        Args:
            entities: of each record; None where there is one series. moments: (N,).
            rows: the records that alarm, in order of time within each entity. scores: (N,).
        """
        lasts = []
        for row in rows.tolist():
            entity = ONE if entities is None else entities[row]
            moment, score = int(moments[row]), float(scores[row])
            own = self.entities.pop(entity, None) or Alarms()
            own.forget(moment - self.records * self.window.step, self.records)
            if len(own) >= SHARE * self.records:
                lasts.append(row)
                p_values[row] = max(p_values[row], own.above(score) / self.records)
            own.add((moment, score))
            self.entities[entity] = own
        while self.most is not None and len(self.entities) > self.most:
            del self.entities[next(iter(self.entities))]
        return np.array(lasts, np.int64)

    def kept(self) -> dict[str, list[Alarm]]:
        """Return what is remembered, oldest entity first."""
        return {
            entity: list(zip(own.moments, own.scores, strict=True))
            for entity, own in self.entities.items()
        }

    def keep(self, kept: Mapping[str, Sequence[Alarm]]) -> None:
        """Remember what was remembered before."""
        for entity, alarms in kept.items():
            own = self.entities[entity] = Alarms()
            for moment, score in alarms:
                own.add((moment, score))
