"""alarms of entities in time -> which of them only repeat what has lasted.

A machine that is changed for good would alarm with each of its records from then on, and no
calibration on records from before could foresee it. So the alarms of an entity that no long pause
parts are an episode. Once an episode has gone on for some windows' lengths, and a quarter of the
records in this time were alarms, what it reports lasts: then a record is compared with the newest
alarms of its entity, too, and its p-value is the larger one of both. What goes beyond these still
alarms, and so does all that comes after a pause.

Only alarms are remembered, so that an entity without any costs nothing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from vaewatch.scoring.series.window import ONE, Window

# in windows' lengths
PAUSE = 8  # that parts two episodes
LASTS = 8  # from then on an episode lasts
COMPARED = 4  # whose alarms a record is compared with
SHARE = 1 / 4  # of the records that an entity has in the time of an episode, usually

Floats = NDArray[np.float64]


class KeptEpisode(Struct, array_like=True):
    """An episode as it is kept: its beginning, its alarms, and the newest ones."""

    first: int
    alarms: int
    moments: list[int]
    scores: list[float]


@dataclass
class Episode:
    """The alarms of one entity that no long pause parts.

    first: the moment of the first one. alarms: how many there are. moments, scores: of the newest
    ones, in order.
    """

    first: int
    alarms: int = 0
    moments: array[int] = field(default_factory=lambda: array("q"))
    scores: array[float] = field(default_factory=lambda: array("d"))

    def add(self, moment: int, score: float, most: int) -> None:
        """Add an alarm, and keep the newest `most`."""
        self.alarms += 1
        self.moments.append(moment)
        self.scores.append(score)
        if (gone := len(self.moments) - most) > 0:
            del self.moments[:gone], self.scores[:gone]

    def above(self, score: float, since: int) -> int:
        """Return how many alarms since a moment score at least as high."""
        recent = np.frombuffer(self.scores)[bisect_left(self.moments, since) :]
        return int((recent >= score).sum())

    def kept(self) -> KeptEpisode:
        return KeptEpisode(self.first, self.alarms, list(self.moments), list(self.scores))

    @classmethod
    def of(cls, kept: KeptEpisode) -> Episode:
        return cls(kept.first, kept.alarms, array("q", kept.moments), array("d", kept.scores))


@dataclass
class Lasting:
    """The newest episode of each entity.

    most: entities that are remembered; those whose last alarm is longest ago leave first.
    """

    window: Window
    most: int | None = None
    episodes: dict[str, Episode] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        """The most alarms of an entity that are remembered."""
        return COMPARED * self.window.size

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
        length, lasts = self.window.size * self.window.step, []
        for row in rows.tolist():
            entity = ONE if entities is None else entities[row]
            moment, score = int(moments[row]), float(scores[row])
            own = self.episodes.pop(entity, None)
            if own is None or moment - own.moments[-1] > PAUSE * length:
                own = Episode(moment)
            if self._lasts(own, moment):
                lasts.append(row)
                above = own.above(score, moment - COMPARED * length)
                p_values[row] = max(p_values[row], above / self.compared)
            own.add(moment, score, self.compared)
            self.episodes[entity] = own
        while self.most is not None and len(self.episodes) > self.most:
            del self.episodes[next(iter(self.episodes))]
        return np.array(lasts, np.int64)

    def _lasts(self, episode: Episode, moment: int) -> bool:
        time = moment - episode.first
        records = time / max(self.window.step, 1)
        return (
            time >= LASTS * self.window.size * self.window.step
            and episode.alarms >= SHARE * records
        )

    def kept(self) -> dict[str, KeptEpisode]:
        """Return what is remembered, as it is now; the entity that alarmed last comes last."""
        return {entity: episode.kept() for entity, episode in self.episodes.items()}

    def keep(self, kept: Mapping[str, KeptEpisode]) -> None:
        """Remember what was remembered before."""
        self.episodes |= {entity: Episode.of(each) for entity, each in kept.items()}
