"""a record that breaks relations -> what is expected in their columns: the number that mends them.

Any of these columns may be the wrong one. The network tells: with the right one mended, the record
is as usual. If no single one mends them all, then more than one is wrong. What the record then
costs is put down to the columns that it was marked in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.numbers import ExpectedNumbers
from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.relations import Relations
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Mended:
    """M cells whose relations say what is expected there.

    Attributes:
        cells: (M,) their indices among those that are tried.
        numbers: (M,) expected. features: of the records with them.
    """

    cells: NDArray[np.int64]
    numbers: NDArray[np.float64]
    features: Features


@dataclass(frozen=True)
class Mending:
    """Mends broken relations between numeric columns."""

    vectorizer: Vectorizer
    relations: Relations
    expected: ExpectedNumbers

    @classmethod
    def of(cls, vectorizer: Vectorizer, expected: ExpectedNumbers) -> Mending | None:
        """Return what mends an artifact's relations; None where it has none."""
        relations = vectorizer.related
        return None if relations is None else cls(vectorizer, relations, expected)

    def mend(
        self,
        table: Table,
        rows: NDArray[np.int64],
        columns: NDArray[np.int64],
        involved: NDArray[np.bool_],
    ) -> Mended:
        """Return what broken relations say of K cells.

        Args:
            rows: (K,) the record of each cell. columns: (K,) in the schema.
            involved: (K, C) the columns of the relations that the record breaks.
        """
        cells = np.flatnonzero(involved[np.arange(len(rows)), columns])
        numbers = self._numbers(table.numbers[rows[cells]], columns[cells])
        some = np.flatnonzero(np.isfinite(numbers))
        cells, numbers = cells[some], numbers[some]
        records = table.take(rows[cells])
        after = replace(records, numbers=records.numbers.copy())
        after.numbers[np.arange(len(cells)), self._numeric[columns[cells]]] = numbers
        before, features = self._apart.transform(records), self._apart.transform(after)
        broken, left = self._marks(records), self._marks(after)
        fewer = _count(features.unseen | left) < _count(before.unseen | broken)
        mended = np.isin(rows[cells], rows[cells][fewer])  # by one of the cells
        own = broken[np.arange(len(cells)), columns[cells]]
        left[own & ~mended] = False
        return Mended(cells, numbers, replace(features, unseen=features.unseen | left))

    def _numbers(
        self, numbers: NDArray[np.float64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        def possible(some: NDArray[np.float64]) -> NDArray[np.float64]:
            return self.expected.possible(columns, some)

        return self.relations.mended(numbers, self._numeric[columns], possible)

    def _marks(self, table: Table) -> NDArray[np.bool_]:
        """Return the columns that broken relations of N records are put down to, (N, C)."""
        marks = np.zeros((len(table), len(table.schema.columns)), bool)
        self.relations.mark(table.numbers, marks)
        return marks

    @cached_property
    def _apart(self) -> Vectorizer:
        """What reads records, whatever relations they break."""
        return replace(self.vectorizer, relations=())

    @cached_property
    def _numeric(self) -> NDArray[np.int64]:
        """The place of each column of the schema among those of its kind, (C,)."""
        schema = self.vectorizer.schema
        return np.array([schema.place[name] for name in schema.names])


def _count(unseen: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.asarray(unseen.sum(1))
