"""marks, records -> Matched: which of the records somebody has marked.

A mark of a record is matched by the column of ids. One of an incident is matched by its group and
its span of time, so that it takes all records in there, where all records are one group every
record of the span: to take those that alarm alone would choose among normal records by their
score, and the rest would no longer calibrate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.budget.segments import segment_column
from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.scoring.schema import Column, Schema
from vaewatch.scoring.time.form import NO_TIME
from vaewatch.scoring.time.frames import read_moments
from vaewatch.scoring.time.texts import DateOrder
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.groups import Groups, texts_of
from vaewatch.training.feedback.marks import Mark

NONE = -1  # the mark of a record that nobody marked

Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Keys:
    """The columns by which records are found, where there are such.

    learned: the segment's, of an artifact that exists; None before a fit. order: of the dates in
    times; None if as they tell.
    """

    id: str | None
    time: str | None
    zone: str
    entity: str | None
    segment: str | None
    learned: Column | None = None
    order: DateOrder | None = None

    @classmethod
    def of(cls, config: TrainConfig, parent: Schema | None = None) -> Keys:
        """Return the keys of a fit. parent: the schema of the artifact that it continues."""
        learned = None if parent is None else segment_column(parent)
        learned = learned if learned is not None and learned.name == config.segment else None
        keys = config.id, config.time, config.zone, config.entity, config.segment
        return cls(*keys, learned, config.order)

    @classmethod
    def of_schema(cls, schema: Schema) -> Keys:
        time = schema.time
        zone = "UTC" if time is None else time.zone
        column, order = (None, None) if time is None else (time.column, time.order)
        learned = segment_column(schema)
        return cls(schema.id, column, zone, schema.entity, schema.segment, learned, order)


@dataclass(frozen=True)
class Matched:
    """The marks, and that of each of N records.

    of: (N,) the place of its mark, or NONE. by_span: (N,) whether the mark is of an incident, of
        whose records only those that alarm are meant.
    found: of each mark, whether it has a record.
    """

    marks: tuple[Mark, ...]
    of: Rows
    by_span: Bools
    found: Bools

    def __len__(self) -> int:
        return len(self.of)

    def labelled(self, label: Label) -> Bools:
        """Return which records have a mark with this label, (N,)."""
        own = np.array([mark.label == label for mark in self.marks] + [False])  # last: NONE
        return np.asarray(own[self.of])

    def take(self, rows: Rows) -> Matched:
        """Return the records at these indices."""
        return Matched(self.marks, self.of[rows], self.by_span[rows], self.found)

    @property
    def missing(self) -> int:
        """How many marks have no record."""
        return int((~self.found).sum())


def match(marks: Sequence[Mark], frame: pl.DataFrame, keys: Keys) -> Matched:
    """Find the records of N that are marked. Where several marks take one record, that of the
    record itself wins, and then the latest.
    """
    n = len(frame)
    of, by_span, found = np.full(n, NONE), np.zeros(n, bool), np.zeros(len(marks), bool)
    places = _Places.of(frame, keys, marks)
    for record in (False, True):  # those of incidents first
        for at, mark in enumerate(marks):
            if bool(mark.record) is record:
                rows = places.rows(mark)
                of[rows], by_span[rows], found[at] = at, not record, len(rows) > 0
    return Matched(tuple(marks), of, by_span, found)


@dataclass(frozen=True)
class _Places:
    """Where records are: by id, by group, and in order of time."""

    ids: dict[str, list[int]]
    groups: Groups
    times: _Times | None

    @classmethod
    def of(cls, frame: pl.DataFrame, keys: Keys, marks: Sequence[Mark]) -> _Places:
        ids: dict[str, list[int]] = {}
        for row, name in enumerate(_ids(frame, keys.id)):
            ids.setdefault(name, []).append(row)
        times = _Times.of(frame, keys)
        outside = np.ones(len(frame), bool)
        for mark in marks:
            if mark.kind is GroupKind.OTHER and times is not None:
                outside[times.within(mark)] = False
        entities, segments = texts_of(frame, keys.entity), texts_of(frame, keys.segment)
        return cls(ids, Groups.of(entities, segments, keys.learned, outside), times)

    def rows(self, mark: Mark) -> Rows:
        """Return the rows that a mark is about."""
        if mark.record:
            return np.array(self.ids.get(mark.record, []), np.int64)
        if self.times is None:
            return np.empty(0, np.int64)
        return self.groups.among(self.times.within(mark), mark.kind, mark.group)


@dataclass(frozen=True)
class _Times:
    """The moments of records, (N,), in order; those without a time are first."""

    order: Rows
    moments: Rows

    @classmethod
    def of(cls, frame: pl.DataFrame, keys: Keys) -> _Times | None:
        read = None
        if keys.time is not None and keys.time in frame.columns:
            read = read_moments(frame[keys.time], keys.order)
        if read is None:
            return None
        moments = read.in_utc(keys.zone)
        order = np.argsort(moments, kind="stable")
        return cls(order, moments[order])

    def within(self, mark: Mark) -> Rows:
        """Return the rows in the span of an incident."""
        if mark.first is None or mark.last is None:
            return np.empty(0, np.int64)
        start = np.searchsorted(self.moments, max(mark.first, NO_TIME + 1), side="left")
        return self.order[start : np.searchsorted(self.moments, mark.last, side="right")]


def _ids(frame: pl.DataFrame, column: str | None) -> list[str]:
    """Return the ids of records as texts without blanks around them."""
    if column is None or column not in frame.columns:
        return []
    texts = frame[column].cast(pl.String, strict=False).str.strip_chars()
    return texts.fill_null("").to_list()
