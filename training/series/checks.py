"""fit records -> those that have a place in a series."""

from __future__ import annotations

import numpy as np
import polars as pl

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.frames import check_moments
from vaewatch.training.records.entities import entities_of
from vaewatch.training.records.kinds import refuse_records
from vaewatch.training.records.sample import Sample


def check_series(frame: pl.DataFrame, schema: Schema) -> None:
    """Refuse records without a time or without an entity.

    Raises:
        ColumnError: there are some.
    """
    if schema.time is not None:
        name = schema.time.column
        moments = check_moments(schema.time, frame[name]).moments
        rule = f"column '{name}' must hold a time in each record, by which windows are in order"
        rows = np.flatnonzero(moments == NO_TIME).tolist()
        refuse_records(
            tuple(Problem(row, name, "missing", rule) for row in rows), rule, len(frame)
        )
    if schema.entity is not None:
        entities_of(frame, schema.entity)


def newest(sample: Sample, schema: Schema, most: int) -> Sample:
    """Return at most so many records, the newest: a sample of others would tear windows."""
    if len(sample.frame) <= most or schema.time is None:
        return sample
    moments = check_moments(schema.time, sample.frame[schema.time.column]).moments
    return sample.take(np.sort(np.argsort(moments, kind="stable")[-most:]))
