"""a record that no single column explains -> two of its numbers that stand in each other's place.

Two shares that were swapped still add up to 100, so that to mend either alone breaks the sum, and
neither would be a reason. So both are tried together: each two columns of a sum, and each two of
the columns that are odd the most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.cells import NONE
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.network import Network
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.table import Table

EXPLAINED = 0.5  # of a score: where one column explains as much, no two are tried; two must
FAR = 2.0  # deviations from the mean, which one of two numbers is at least
ODDEST, MOST_OF_SUMS = 5, 30  # columns that are tried with each other, and pairs of sums

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Exchanged:
    """Two columns of N records, (N, 2), NONE where no two explain half of a score, and by how much
    each score falls with their numbers exchanged, (N,) nats.
    """

    columns: Ints
    falls: Numbers

    def cells(self) -> Iterator[tuple[int, int, float]]:
        """Yield the two columns of each record, and the fall; 0 where there are none."""
        for (one, other), fall in zip(self.columns.tolist(), self.falls.tolist(), strict=True):
            yield one, other, fall


@dataclass(frozen=True)
class Tries:
    """What was tried of the columns of N records.

    scores: (N,). columns: (N, K) of the schema, those that are odd the most first. falls: (N,) by
    which the best column alone lowers the score.
    """

    scores: Numbers
    columns: Ints
    falls: Numbers


@dataclass(frozen=True)
class Exchange:
    """Tries numbers in each other's place."""

    network: Network
    rule: ScoreRule
    vectorizer: Vectorizer

    def find(self, table: Table, values: NDArray[np.float32], tries: Tries) -> Exchanged:
        """Return the two columns that explain most of the score of N records.

        Args:
            values: (N, D) their features.
        """
        scores, n = tries.scores, len(table)
        found = Exchanged(np.full((n, 2), NONE), np.zeros(n))
        rows = np.flatnonzero(tries.falls < EXPLAINED * scores)
        far = np.abs(values[rows][:, self._value]) > FAR
        pairs = zip(rows.tolist(), tries.columns[rows], far & self._measured, strict=True)
        tried = [(row, *pair) for row, odd, own in pairs for pair in self._pairs(odd, own)]
        if not tried:
            return found
        at, left, right = np.array(tried).T
        numbers, place = table.numbers[at], self._place
        every = np.arange(len(at))
        one, other = numbers[every, place[left]], numbers[every, place[right]]
        numbers[every, place[left]], numbers[every, place[right]] = other, one
        differ = np.isfinite(one) & np.isfinite(other) & (one != other)
        at, left, right = at[differ], left[differ], right[differ]
        if not len(at):
            return found
        features = self.vectorizer.transform(replace(table.take(at), numbers=numbers[differ]))
        after = self.rule.total(self.network.forward(features.values), features)
        fall = np.where(scores[at] - after >= EXPLAINED * scores[at], scores[at] - after, 0.0)
        for i in np.argsort(fall, kind="stable").tolist():  # the largest last
            if fall[i] > 0:
                found.columns[at[i]], found.falls[at[i]] = (left[i], right[i]), fall[i]
        return found

    def _pairs(self, columns: Ints, far: NDArray[np.bool_]) -> set[tuple[int, int]]:
        """Return the pairs to try of a record, in which one number at least is far out, (C,)."""
        odd = [column for column in columns.tolist() if self._measured[column]][:ODDEST]
        every = {*self._of_sums, *combinations(sorted(odd), 2)}
        return {(one, other) for one, other in every if far[one] or far[other]}

    @cached_property
    def _of_sums(self) -> list[tuple[int, int]]:
        """Each two columns that count alike in a sum."""
        return list(self._each_of_sums())[:MOST_OF_SUMS]

    def _each_of_sums(self) -> Iterator[tuple[int, int]]:
        names = self.vectorizer.schema.names
        for relation in self.vectorizer.relations:
            terms = zip(relation.factors, relation.weights, strict=True)
            alone = [(factors[0], weight) for factors, weight in terms if len(factors) == 1]
            for (one, weight), (other, of_other) in combinations(alone, 2):
                if weight == of_other and not relation.log:
                    first, second = sorted((names.index(one), names.index(other)))
                    yield first, second

    @cached_property
    def _measured(self) -> NDArray[np.bool_]:
        return np.array([c.kind is Kind.NUMERIC for c in self.vectorizer.schema.columns])

    @cached_property
    def _value(self) -> Ints:
        """The feature of each column's number, (C,); any where it has none."""
        return np.array([own.value or 0 for own in self.vectorizer.by_column.values()])

    @cached_property
    def _place(self) -> Ints:
        schema = self.vectorizer.schema
        return np.array([schema.place[name] for name in schema.names])
