"""marks, records -> Feedback: the records of confirmed incidents, which are left out.

False alarms stay where they are, at their weight among the other normal records. To add them to
the records that calibrate, or to take the unmarked ones away, would make high scores look usual:
all p-values would rise, and anomalies would no longer alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from msgspec import structs
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.incidents.feedback import FeedbackSummary, Label
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.table import Table
from vaewatch.training.feedback.marks import Mark
from vaewatch.training.feedback.matched import Keys, Matched, match
from vaewatch.training.feedback.weights import Learnt


@dataclass(frozen=True)
class Feedback:
    """The marks of a run.

    keys: by which records are found. confirmed: the records that are left out. matched: their
        marks.
    """

    marks: tuple[Mark, ...]
    keys: Keys
    confirmed: pl.DataFrame
    matched: Matched

    def sound(self, schema: Schema) -> tuple[Table, Matched]:
        """Return the confirmed records that do not break the schema, and their marks."""
        table, problems = table_of_frame(schema, self.confirmed)
        bad = {problem.record for problem in problems}
        rows = np.array([row for row in range(len(table)) if row not in bad], np.int64)
        return table.take(rows), self.matched.take(rows)

    def of(self, frame: pl.DataFrame) -> Matched:
        """Return the marks of records that stay."""
        return match(self.marks, frame, self.keys)

    def summary(self, learnt: Learnt | None = None) -> FeedbackSummary:
        """Return what an artifact says of them."""
        labels = [mark.label for mark in self.marks]
        whole = FeedbackSummary(
            confirmed=labels.count(Label.CONFIRMED),
            false_alarms=labels.count(Label.FALSE_ALARM),
            expected=labels.count(Label.EXPECTED),
            without_records=self.matched.missing,
            left_out=len(self.confirmed),
        )
        if learnt is None:
            return whole
        return structs.replace(
            whole,
            kl_factor=learnt.factors.kl,
            neighbour_factor=learnt.factors.neighbour,
            gain=learnt.gain,
            gain_error=learnt.gain_error,
        )


def leave_out(
    marks: Sequence[Mark], frame: pl.DataFrame, keys: Keys
) -> tuple[Feedback, NDArray[np.int64]]:
    """Return the feedback on N records, and the rows of those that stay.

    Raises:
        SchemaError: no record would stay.
    """
    matched = match(marks, frame, keys)
    confirmed = matched.labelled(Label.CONFIRMED)
    rows = np.flatnonzero(~confirmed)
    if len(frame) and not len(rows):
        raise SchemaError(
            "the normal records must not all be of confirmed incidents, but the feedback takes "
            f"all {len(frame):,} of them."
        )
    out = np.flatnonzero(confirmed)
    return Feedback(tuple(marks), keys, frame[out], matched.take(out)), rows
