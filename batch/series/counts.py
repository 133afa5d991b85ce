"""What a job of windows counts beside the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from vaewatch.scoring.series.history import STANDINGS, Standing, Taken


@dataclass(frozen=True)
class SeriesCounts:
    """Counts of records by how they stand to the history of their entity, and of what it saw.

    entities: that came into the history; one that had to leave it, and returned, counts anew.
    gaps: pauses after which a window began anew.
    evicted: entities that had to leave the history.
    incidents: alarms of one entity no further apart than a window are one.
    lasting: judged records of entities whose alarm lasts.
    new: other judged records, of entities that the artifact does not know.
    first: the file, by its index, and the line of the first record out of order.
    """

    judged: int = 0
    warming_up: int = 0
    late: int = 0
    repeated: int = 0
    entities: int = 0
    gaps: int = 0
    evicted: int = 0
    incidents: int = 0
    lasting: int = 0
    new: int = 0
    first: tuple[int, int] | None = None

    @classmethod
    def of(cls, taken: Taken, rows: np.ndarray[Any, Any]) -> SeriesCounts:
        """Count the records in these rows, (n,), by their standing."""
        number = np.bincount(taken.standings[rows], minlength=len(STANDINGS)).tolist()
        by = dict(zip(STANDINGS, number, strict=True))
        return cls(
            judged=by[Standing.FULL],
            warming_up=by[Standing.WARMING_UP],
            late=by[Standing.LATE],
            repeated=by[Standing.REPEATED],
            gaps=taken.gaps,
            evicted=taken.evicted,
        )

    def __add__(self, other: SeriesCounts) -> SeriesCounts:
        numbers = {name: getattr(self, name) + getattr(other, name) for name in _NUMBERS}
        return SeriesCounts(**numbers, first=self.first or other.first)

    def remarks(self, files: Sequence[str], most: int, *, of_new: bool) -> list[str]:
        """Say which records were left out, may lack a window, or have no budget, and what to do
        about it. `of_new`: whether new entities have a calibration of their own.
        """
        said = []
        if self.first is not None:
            file, line = files[self.first[0]], self.first[1]
            found = []
            if self.late:
                found.append(f"{_records(self.late)} older than one before of the same entity")
            if self.repeated:
                found.append(f"{_records(self.repeated)} of a moment that the entity already had")
            said.append(
                f"{', and '.join(found)}: they were not judged. The first is in '{file}', line "
                f"{line:,}. --sort puts records in order first."
            )
        elif self.repeated:
            said.append(
                f"{_records(self.repeated)} of a moment that the entity already had: the first of "
                "each was judged."
            )
        if self.evicted:
            said.append(
                f"the history holds {most:,} entities, and {self.evicted:,} times one was "
                "dropped; it warms up again if it returns. --max-entities says how many it holds."
            )
        if self.warming_up and not self.judged:
            said.append(
                "no record was judged, so none could alarm: a record needs a full window of its "
                "entity's records, and no entity has that many in a row."
            )
        if self.lasting:
            said.append(
                f"{self.lasting:,} records came while the alarm of their entity lasted, and alarm "
                "only if they go beyond it: the entity is not as it was in the fit data. If this "
                "is how it is now, recalibrate or train on newer records."
            )
        if self.new and not of_new:
            said.append(
                f"{self.new:,} of {self.judged:,} judged records are of entities that are new to "
                "the model. The budget does not cover them, and they may alarm far more often: "
                "train with --calibrate entities, or on their records, too."
            )
        return said

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SeriesCounts:
        first = data["first"]
        numbers = {name: int(data.get(name, 0)) for name in _NUMBERS}
        return cls(**numbers, first=None if first is None else (int(first[0]), int(first[1])))


def _records(n: int) -> str:
    return "1 record is" if n == 1 else f"{n:,} records are"


_NUMBERS = tuple(each.name for each in fields(SeriesCounts) if each.name != "first")
