"""hours and weekdays that no fit record has -> which records have one: they are unseen there.

An hour is one of the 24 of a day. `vaewatch.training.unseen.calendar` says which are absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.time.parts import PERIODS, Part

AbsentOf = Mapping[str, tuple[int, ...]]  # hours or weekdays of a circular column
COUNTED = (Part.HOUR, Part.WEEKDAY)
MOST = int(max(PERIODS[part] for part in COUNTED))


def spans_of(numbers: NDArray[np.float64], part: Part) -> NDArray[np.int64]:
    """Return the hour, or the weekday, that numbers of the calendar lie in, (N,)."""
    whole = np.floor(numbers) if part is Part.HOUR else np.rint(numbers)
    return np.asarray(whole % PERIODS[part], dtype=np.int64)


@dataclass(frozen=True)
class Absent:
    """Lookup tables for the circular columns with absent hours or weekdays.

    Attributes:
        columns: (K,) numeric columns, and `places`, (K,), their indices in the schema.
        parts: of the time that each is.
        absent: (K, MOST).
    """

    columns: NDArray[np.int64]
    places: NDArray[np.int64]
    parts: tuple[Part, ...]
    absent: NDArray[np.bool_]

    @classmethod
    def of(cls, schema: Schema, absent: AbsentOf) -> Absent | None:
        """Return the tables; None if nothing is absent."""
        if not absent:
            return None
        numeric = [column.name for column in schema.numeric]
        names = list(schema.names)
        table = np.zeros((len(absent), MOST), bool)
        for row, own in zip(table, absent.values(), strict=True):
            row[list(own)] = True
        parts = tuple(schema.columns[names.index(name)].part for name in absent)
        return cls(
            columns=np.array([numeric.index(name) for name in absent], np.int64),
            places=np.array([names.index(name) for name in absent], np.int64),
            parts=tuple(part for part in parts if part is not None),
            absent=table,
        )

    def mark(self, numbers: NDArray[np.float64], unseen: NDArray[np.bool_]) -> bool:
        """Mark what is absent of N records; return whether any is.

        Args:
            numbers: (N, numeric columns), NaN where missing.
            unseen: (N, C).
        """
        found = False
        for k, part in enumerate(self.parts):
            own = numbers[:, self.columns[k]]
            given = np.nan_to_num(own)
            marks = self.absent[k, spans_of(given, part)] & (own == given)
            if np.count_nonzero(marks):
                unseen[:, self.places[k]] |= marks
                found = True
        return found


def check_absent(schema: Schema, absent: AbsentOf) -> None:
    """Check that what is absent is some of the hours or weekdays of columns of the calendar.

    Raises:
        ArtifactError: training cannot have written it.
    """
    parts = {column.name: column.part for column in schema.circular}
    for name, own in absent.items():
        part = parts.get(name)
        if part not in COUNTED or not all(0 <= span < PERIODS[part] for span in own):
            raise ArtifactError(
                f"the absent times of column '{one_line(name)}' are not as training writes them."
            )
