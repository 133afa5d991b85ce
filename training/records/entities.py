"""A column of entities -> the name of each record's entity, or an error."""

from __future__ import annotations

import polars as pl

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.files.frames import as_categories, without_codes
from vaewatch.scoring.series.entity import LONGEST, entities_of_column
from vaewatch.training.records.kinds import refuse_records


def entities_of(frame: pl.DataFrame, column: str) -> list[str]:
    """Return the name of the entity of each of N records.

    Raises:
        ColumnError: a record names none.
    """
    problems: list[Problem] = []
    names = entities_of_column(as_categories(without_codes(frame[column])), problems)
    must = f"must name the entity of each record, in at most {LONGEST:,} characters"
    refuse_records(tuple(problems), f"column '{column}' {must}", len(frame))
    return names
