"""numeric columns that belong together -> which records break a relation between them.

A relation is a sum that stays within limits: of numbers, as gross = net + tax, or of their
logarithms, as tax = rate x net. `vaewatch.training.unseen.relations` finds them. An order, as
high >= low, is one without an upper limit (`vaewatch.training.unseen.orders`). Whoever breaks one
has an unseen value in one of its columns (`vaewatch.scoring.features.marks`).
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
from vaewatch.scoring.features.feature import Feature, floats, ints, rounded
from vaewatch.scoring.features.marks import put_down
from vaewatch.scoring.features.same import FLOAT16_ROUNDING, FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Relation
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

LEAST_DIGITS, MOST_DIGITS = 6, 15  # significant ones of a number that mends a relation
LARGEST_SHORT = 2048  # up to it, whole numbers are float16 as they are

Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Relations:
    """Lookup tables for the R relations of an artifact, the sums of numbers first.

    The T terms of all relations follow each other.

    Attributes:
        columns: (T,) the numeric column of each term.
        weights: (T,) of it. starts: (R,) where the terms of each relation start.
        logs: where the terms that are logarithms start.
        low, middle, high: (R,) the sums lie within these limits, and usually at the middle.
        members: (R, C) whether a column of the schema is one of a relation's.
        fitted: (R,) the column of the schema that was fitted by the others.
        numeric: how many numeric columns there are.
    """

    columns: NDArray[np.int64]
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
        members = np.array([np.isin(names, relation.columns) for relation in ordered])
        return cls(
            columns=ints(numeric[name] for relation in ordered for name in relation.columns),
            weights=floats(weight for relation in ordered for weight in relation.weights),
            starts=np.cumsum([0, *sizes[:-1]]),
            logs=sum(len(relation.columns) for relation in ordered if not relation.log),
            low=floats(relation.low for relation in ordered),
            middle=floats(relation.middle for relation in ordered),
            high=floats(_high(relation) for relation in ordered),
            members=members,
            fitted=ints(names.index(relation.columns[0]) for relation in ordered),
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
        if not np.count_nonzero(broken):
            return False
        rows = np.flatnonzero(broken.any(1))
        some = broken[rows]
        narrow = np.isfinite(self.high)  # that an order is kept says little
        kept = self.given(numbers[rows]) & ~some & narrow
        unseen[rows] |= put_down(some, kept, self.members, self.fitted)
        return True

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
        at, place = np.arange(len(numbers)), self._place[:, columns].T  # (N, R)
        again = numbers.copy()
        again[at, columns] = usual
        kept = np.isfinite(usual) & ~(self.broken(again) & (place >= 0)).any(1)
        tried = self.broken(numbers) & (place >= 0) & ~kept[:, None]
        out = np.where(kept, usual, np.nan)
        fewest = np.full(len(numbers), len(self.starts) + 1)
        for _ in range(int(tried.sum(1).max(initial=0))):
            relation = tried.argmax(1)
            number = shape(self._solved(numbers, relation, place[at, relation]))
            again[at, columns] = number
            left = self.broken(again).sum(1)
            better = tried.any(1) & np.isfinite(number) & (left < fewest)
            out[better], fewest[better] = number[better], left[better]
            tried[at, relation] = False
        return out

    def _solved(
        self,
        numbers: NDArray[np.float64],
        relation: NDArray[np.int64],
        place: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return the number by which each of N records keeps a relation, (N,), in as few digits as
        that takes. `place`: (N,) of its term.
        """
        at = np.arange(len(numbers))
        low, middle, high = (end[relation] for end in (self.low, self.middle, self.high))
        weight, log = self.weights[place], place >= self.logs
        with np.errstate(all="ignore"):
            terms = self._terms(numbers)
            sums = np.add.reduceat(terms, self.starts, axis=1)
            rest = sums[at, relation] - terms[at, place]
            out = (middle - rest) / weight
            out = np.where(log, np.exp(out), out)
            for digits in range(MOST_DIGITS, LEAST_DIGITS - 1, -1):
                short = rounded(out, digits)
                total = rest + weight * np.where(log, np.log(short), short)
                slack = FLOAT32_ROUNDING * np.abs(weight * np.where(log, 1.0, short))
                out = np.where((total >= low - slack) & (total <= high + slack), short, out)
        return out

    def _sums(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of N records, (N, R); NaN where a term is missing."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.add.reduceat(self._terms(numbers), self.starts, axis=1)

    def _terms(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the terms of the sums of N records, (N, T)."""
        terms = numbers.take(self.columns, axis=1)
        if self.logs < len(self.columns):
            logs = terms[:, self.logs :]
            logs[logs <= 0] = np.nan
            np.log(logs, out=logs)
        terms *= self.weights
        return terms

    def _slack(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much rounding may move the sums of N records, (N, R)."""
        own = numbers.take(self.columns, axis=1)
        with np.errstate(over="ignore"):
            size = np.abs(own * self.weights)
            is_half = own.astype(np.float16) == own
        size[:, self.logs :] = np.abs(self.weights[self.logs :])
        longer = (own != np.rint(own)) | (np.abs(own) > LARGEST_SHORT)
        halves = np.logical_and.reduceat(is_half, self.starts, axis=1)
        halves &= np.logical_or.reduceat(longer, self.starts, axis=1)
        rounding = np.where(halves, FLOAT16_ROUNDING, FLOAT32_ROUNDING)
        return np.asarray(rounding * np.add.reduceat(size, self.starts, axis=1))

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """The term of each numeric column in each relation, (R, numeric columns); -1 for none."""
        relation = np.repeat(
            np.arange(len(self.starts)), np.diff([*self.starts, len(self.columns)])
        )
        out = np.full((len(self.starts), self.numeric), -1)
        out[relation, self.columns] = np.arange(len(self.columns))
        return out


def _high(relation: Relation) -> float:
    return math.inf if relation.high is None else relation.high


def check_relations(features: Sequence[Feature], relations: Sequence[Relation]) -> None:
    """Check that relations are between columns with a number among the features.

    Raises:
        ArtifactError: training cannot have written them.
    """
    numbers = {f.column for f in features if f.code is None}
    for each in relations:
        own = set(each.columns)
        most = each.middle if each.high is None else each.high
        limits = (-math.inf, each.low, each.middle, most, math.inf)
        ordered = all(a <= b for a, b in pairwise(limits)) and math.isfinite(most - each.low)
        order = each.weights == (1, -1) and each.low == 0 and not each.log
        if not (
            own <= numbers
            and (order or each.high is not None)
            and 2 <= len(own) == len(each.columns) == len(each.weights)
            and all(weight and math.isfinite(weight) for weight in each.weights)
            and ordered
        ):
            raise ArtifactError(
                f"the relation of column '{one_line(' '.join(each.columns[:1]))}' is not one that "
                "training writes."
            )
