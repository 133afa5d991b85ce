"""numeric columns that belong together -> which records break a relation between them.

A relation is a sum that stays within limits: of numbers, as gross = net + tax, of their products,
as total = rate x nights + tax, or of their logarithms, as speed = way / time.
`vaewatch.training.unseen.between.relations` finds them. An order, as high >= low or approved >=
paid + deducted, is one without an upper limit (`vaewatch.training.unseen.between.orders`,
`vaewatch.training.unseen.between.parts`). Whoever breaks one has an unseen value
in one of its columns (`vaewatch.scoring.features.between.marks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.between.marks import mark
from vaewatch.scoring.features.feature import Feature, floats, ints, rounded
from vaewatch.scoring.features.same import (
    FLOAT16_ROUNDING,
    FLOAT32_ROUNDING,
    are_halves,
    show_halves,
)
from vaewatch.scoring.features.state import Relation
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

LEAST_DIGITS, MOST_DIGITS = 6, 15  # significant ones of a number that mends a relation

Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Relations:
    """Lookup tables for the R relations of an artifact, the sums of numbers first.

    The T terms of all relations follow each other.

    Attributes:
        columns: (T,) the numeric column of each term.
        times: (terms, columns) by which they are multiplied; of a product of three there are two.
        weights: (T,) of it. starts: (R,) where the terms of each relation start.
        logs: where the terms that are logarithms start.
        low, middle, high: (R,) the sums lie within these limits, and usually at the middle.
        members: (R, C) whether a column of the schema is one of a relation's.
        fitted: (R,) the column of the schema that was fitted by the others.
        numeric: how many numeric columns there are.
    """

    columns: NDArray[np.int64]
    times: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    weights: NDArray[np.float64]
    starts: NDArray[np.int64]
    logs: int
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]
    members: NDArray[np.bool_]
    fitted: NDArray[np.int64]
    numeric: int

    @classmethod
    def of(cls, schema: Schema, relations: Sequence[Relation]) -> Relations | None:
        """Return the tables; None without a relation."""
        if not relations:
            return None
        numeric = {column.name: i for i, column in enumerate(schema.numeric)}
        ordered = sorted(relations, key=lambda relation: relation.log)
        sizes = [len(relation.columns) for relation in ordered]
        names = list(schema.names)
        terms = [factors for relation in ordered for factors in relation.factors]
        most = max(map(len, terms))
        members = np.array([np.isin(names, relation.names) for relation in ordered])
        return cls(
            columns=ints(numeric[factors[0]] for factors in terms),
            times=tuple(
                (
                    ints(term for term, factors in enumerate(terms) if len(factors) > at),
                    ints(numeric[factors[at]] for factors in terms if len(factors) > at),
                )
                for at in range(1, most)
            ),
            weights=floats(weight for relation in ordered for weight in relation.weights),
            starts=np.cumsum([0, *sizes[:-1]]),
            logs=sum(len(relation.columns) for relation in ordered if not relation.log),
            low=floats(relation.low for relation in ordered),
            middle=floats(relation.middle for relation in ordered),
            high=floats(_high(relation) for relation in ordered),
            members=members,
            fitted=ints(names.index(relation.names[0]) for relation in ordered),
            numeric=len(numeric),
        )

    def broken(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which relations are broken by N records, (N, R).

        One that misses a number, or has no logarithm of it, is not. Rounding to single or half
        precision breaks none.

        Args:
            numbers: (N, numeric columns), NaN where missing.
        """
        sums = self._sums(numbers)
        out = (sums < self.low) | (sums > self.high)
        if np.count_nonzero(out):
            rows = np.flatnonzero(out.any(1))
            slack, own = self._slack(numbers[rows]), sums[rows]
            out[rows] = (own < self.low - slack) | (own > self.high + slack)
        return out

    def given(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which relations N records can keep or break, (N, R)."""
        return ~np.isnan(self._sums(numbers))

    def mark(self, numbers: NDArray[np.float64], unseen: NDArray[np.bool_]) -> bool:
        """Mark a column of each broken relation of N records; return whether any is broken.

        Args:
            numbers: (N, numeric columns), NaN where missing.
            unseen: (N, C).
        """
        broken = self.broken(numbers)

        def kept(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
            narrow = np.isfinite(self.high)  # that an order is kept says little
            return self.given(numbers[rows]) & ~broken[rows] & narrow

        return mark(unseen, broken, self.members, self.fitted, kept)

    def involved(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the columns of the relations that N records break, (N, C)."""
        return np.asarray(self.broken(numbers) @ self.members)

    def mended(
        self,
        numbers: NDArray[np.float64],
        columns: NDArray[np.int64],
        usual: NDArray[np.float64],
        shape: Shape,
    ) -> NDArray[np.float64]:
        """Return the numbers that mend broken relations of N records, (N,): the usual one if it
        keeps them, or else that of the relation after which the fewest are broken; NaN where
        there is none.

        Args:
            numbers: (N, numeric columns).
            columns: (N,) the numeric column that is to be mended, one of a broken relation's.
            usual: (N,) what the rest of each record lets one expect there; NaN for nothing.
            shape: (N,) numbers -> those of them that the columns may hold.
        """
        at = np.arange(len(numbers))
        concerned = self._has_in[:, columns].T  # (N, R)
        again = numbers.copy()
        again[at, columns] = usual
        kept = np.isfinite(usual) & ~(self.broken(again) & concerned).any(1)
        tried = self.broken(numbers) & concerned & ~kept[:, None]
        solved = self._solved(numbers, columns)
        out = np.where(kept, usual, np.nan)
        fewest = np.full(len(numbers), len(self.starts) + 1)
        for _ in range(int(tried.sum(1).max(initial=0))):
            relation = tried.argmax(1)
            number = shape(solved[at, relation])
            again[at, columns] = number
            left = self.broken(again).sum(1)
            better = tried.any(1) & np.isfinite(number) & (left < fewest)
            out[better], fewest[better] = number[better], left[better]
            tried[at, relation] = False
        return out

    def _solved(
        self, numbers: NDArray[np.float64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the number by which each of N records keeps each relation, (N, R), in as few
        digits as that takes; none of a relation without its column. `columns`: (N,) of it.
        """
        own = self._has[:, columns].T  # (N, T)
        ones = numbers.copy()
        ones[np.arange(len(numbers)), columns] = 1.0
        with np.errstate(all="ignore"):
            terms = self._terms(ones)  # a logarithm of the column is 0 there
            rest = self._added(np.where(own, 0.0, terms))
            terms[:, self.logs :] = self.weights[self.logs :]
            factor = self._added(np.where(own, terms, 0.0))
            out = (self.middle - rest) / factor
            out[:, self._log] = np.exp(out[:, self._log])
            for digits in range(MOST_DIGITS, LEAST_DIGITS - 1, -1):
                short = rounded(out, digits)
                total = rest + factor * np.where(self._log, np.log(short), short)
                slack = FLOAT32_ROUNDING * np.abs(factor * np.where(self._log, 1.0, short))
                near = (total >= self.low - slack) & (total <= self.high + slack)
                out = np.where(near, short, out)
        return np.where(np.isfinite(out), out, np.nan)

    def _sums(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of N records, (N, R); NaN where a term is missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self._added(self._terms(numbers))

    def _added(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of (N, T) terms, (N, R)."""
        return np.add.reduceat(terms, self.starts, axis=1)

    def _terms(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the terms of the sums of N records, (N, T)."""
        terms = numbers.take(self.columns, axis=1)
        if self.logs < len(self.columns):
            logs = terms[:, self.logs :]
            logs[logs <= 0] = np.nan
            np.log(logs, out=logs)
        for places, columns in self.times:
            terms[:, places] *= numbers.take(columns, axis=1)
        terms *= self.weights
        return terms

    def _slack(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much rounding may move the sums of N records, (N, R)."""
        with np.errstate(over="ignore", invalid="ignore"):
            size = np.abs(self._terms(numbers)) * self._count
        size[:, self.logs :] = np.abs(self.weights[self.logs :])
        given = ~np.isnan(numbers)
        longer, fine = ~are_halves(numbers) & given, show_halves(numbers) & given
        has = self._has_in.T
        # What is whole in a record of float16 numbers may have been rounded, too.
        as_all = np.asarray(~longer.any(1) & fine.any(1))
        halves = ~(longer @ has) & ((fine @ has) | as_all[:, None])
        rounding = np.where(halves, FLOAT16_ROUNDING, FLOAT32_ROUNDING)
        return np.asarray(rounding * self._added(size))

    @cached_property
    def _has(self) -> NDArray[np.bool_]:
        """Whether a term has a numeric column, (T, numeric columns)."""
        out = np.zeros((len(self.columns), self.numeric), bool)
        out[np.arange(len(self.columns)), self.columns] = True
        for places, columns in self.times:
            out[places, columns] = True
        return out

    @cached_property
    def _has_in(self) -> NDArray[np.bool_]:
        """Whether a relation has a numeric column, (R, numeric columns)."""
        return np.asarray(np.logical_or.reduceat(self._has, self.starts, axis=0))

    @cached_property
    def _count(self) -> NDArray[np.float64]:
        """How many columns each term multiplies, (T,)."""
        return np.asarray(self._has.sum(1, dtype=np.float64))

    @cached_property
    def _log(self) -> NDArray[np.bool_]:
        """Which relations are of logarithms, (R,)."""
        return self.starts >= self.logs


def _high(relation: Relation) -> float:
    return math.inf if relation.high is None else relation.high


def check_relations(features: Sequence[Feature], relations: Sequence[Relation]) -> None:
    """Check that relations are between columns with a number among the features.

    Raises:
        ArtifactError: training cannot have written them.
    """
    numbers = {f.column for f in features if f.code is None}
    for each in relations:
        terms = [frozenset(factors) for factors in each.factors]
        most = each.middle if each.high is None else each.high
        limits = (-math.inf, each.low, each.middle, most, math.inf)
        ordered = all(a <= b for a, b in pairwise(limits)) and math.isfinite(most - each.low)
        order = each.weights in ((1, -1), (1, -1, -1)) and each.low == 0 and not each.log
        singles = [len(factors) == 1 for factors in each.factors]
        if not (
            numbers.issuperset(each.names)
            and (order or each.high is not None)
            and 2 <= len(set(terms)) == len(each.columns) == len(each.weights)
            and sum(map(len, terms)) == sum(map(len, each.factors))
            and (all(singles) if each.log or each.high is None else singles[0])
            and all(weight and math.isfinite(weight) for weight in each.weights)
            and ordered
        ):
            raise ArtifactError(
                f"the relation of column '{one_line(' '.join(each.names[:1]))}' is not one that "
                "training writes."
            )
