"""cells of entities and segments -> groups of records, as incidents name them.

A segment goes by the label that it has in verdicts. Those that the artifact has no name for are
one group there, `other`. Before a fit nothing says which ones these are: then it is those that
are no category of the records outside such an incident.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.budget.segments import label_of, labels_of
from vaewatch.scoring.files.frames import as_categories, without_codes
from vaewatch.scoring.incidents.feedback import GroupKind
from vaewatch.scoring.schema import Column, Kind, other_code
from vaewatch.scoring.spelling.categories import key_of
from vaewatch.training.records.schema import MAX_SEGMENTS, infer_column

Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.object_]


def texts_of(frame: pl.DataFrame, column: str | None) -> pl.Series | None:
    """Return the cells of a column as texts, as a record's entity or segment is read."""
    if column is None or column not in frame.columns:
        return None
    return as_categories(without_codes(frame[column])).fill_null("")


@dataclass(frozen=True)
class Groups:
    """The groups of N records.

    entities: (N,) names without blanks around them. segments: (N,) labels; empty where there is
        none. others: (N,) whether the artifact has no name for the segment. None without such a
        column.
    """

    entities: Texts | None
    segments: Texts | None
    others: Bools | None
    respelled: bool  # whether segments may be spelled as no artifact does

    @classmethod
    def of(
        cls,
        entities: pl.Series | None,
        segments: pl.Series | None,
        learned: Column | None,
        outside: Bools,
    ) -> Groups:
        """Name the groups of N records.

        Args:
            learned: the segment's column of an artifact that exists.
            outside: (N,) the records that say which segments have a name, where there is no such.
        """
        names = None if entities is None else _each(entities, _entity)
        if segments is None:
            return cls(names, None, None, False)
        column = learned
        if column is None:
            those = segments.filter(pl.Series(outside))
            column = infer_column(those, Kind.CATEGORICAL, most=MAX_SEGMENTS)
        other, labels = other_code(column), labels_of(column)

        def label(text: str) -> str:
            return labels[column.code_of(text)] or ""

        named = _each(segments, label if learned is not None else _label)
        others = _each(segments, lambda text: column.code_of(text) == other)
        return cls(names, named, others.astype(bool), learned is None)

    def among(self, rows: Rows, kind: GroupKind | None, name: str) -> Rows:
        """Return those of some rows that belong to a group. Where its kind is not known, a name
        is that of an entity, or else of a segment; without a name it is all records.
        """
        if kind is GroupKind.ALL or (kind is None and not name):
            return rows
        if kind is GroupKind.OTHER:
            return rows[:0] if self.others is None else np.asarray(rows[self.others[rows]])
        if kind is GroupKind.ENTITY or (kind is None and self.entities is not None):
            return _equal(self.entities, rows, name)
        if self.respelled and self.segments is not None:
            same = {text for text in set(self.segments[rows]) if key_of(text) == key_of(name)}
            return np.asarray(rows[np.isin(self.segments[rows], [name, *same])])
        return _equal(self.segments, rows, name)


def _each(texts: pl.Series, what: Callable[[str], object]) -> NDArray[np.object_]:
    """Return what each text stands for, (N,); there are few different ones."""
    found = {text: what(text) for text in texts.unique()}
    return np.array([found[text] for text in texts], object)


def _entity(text: str) -> str:
    return text.replace("\0", "\ufffd").strip()  # as the store keeps it, and CSV gives it back


def _label(text: str) -> str:
    return label_of(text).strip()


def _equal(names: Texts | None, rows: Rows, name: str) -> Rows:
    return rows[:0] if names is None else np.asarray(rows[names[rows] == name])
