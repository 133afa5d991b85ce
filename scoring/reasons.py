"""a score -> reasons: which columns raise it, and what was expected of them.

A column is a reason if the score falls when the expected value replaces the observed one, and the
fall is its contribution. Only records that get reasons pay for this: the network runs twice for
each of their columns that is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.expected.candidates import Candidates
from vaewatch.scoring.expected.cells import Cells
from vaewatch.scoring.expected.exchanged import Exchange, Tries
from vaewatch.scoring.expected.expectation import Expectation
from vaewatch.scoring.expected.mending import Broken, Mending
from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Value
from vaewatch.scoring.network import TILE, Forward, Network
from vaewatch.scoring.schema import OTHER, Column, is_usual, usual_words
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.parts import Part, named

CANDIDATES = 8  # columns of a record that are tried, and at least SPARE more than are asked for
SPARE = 3
LEAST_NATS = 0.01  # a smaller fall is no reason
LEAST_SHARE = 0.01  # of what the network makes of a score, nor is this


@dataclass(frozen=True)
class Reason:
    """A column whose expected value, in place of the observed one, lowers the score.

    Attributes:
        contribution: by how many nats.
    """

    column: str
    observed: Value
    expected: Value
    contribution: float

    def __str__(self) -> str:
        observed, expected = shown_apart(self.observed, self.expected)
        if self.expected == OTHER:
            expected = "one of its many rare values"
        return f"{self.column} is {observed}, expected {expected}"


@dataclass(frozen=True)
class CalendarReason(Reason):
    """A part of the record's time as the reason.

    Attributes:
        words: the same for people, such as `at 03:10 on a Sunday, usually 08:00 to 19:00`.
    """

    words: str

    def __str__(self) -> str:
        return f"{self.column}: {self.words}"


def shown_apart(a: Value, b: Value) -> tuple[str, str]:
    """Show two values, with four digits or as many more as tell them apart."""
    pairs = ((_shown(a, digits), _shown(b, digits)) for digits in range(4, 18))
    return next((pair for pair in pairs if pair[0] != pair[1]), (_shown(a), _shown(b)))


def _shown(value: Value, digits: int = 4) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class ScoredTable:
    """N records and what led to their scores, (N,)."""

    table: Table
    features: Features
    forward: Forward
    scores: NDArray[np.float64]


Cell = tuple[int, int, float, int, float]  # of one record: column, event, number, code and fall


@dataclass(frozen=True)
class Tried:
    """K columns of N records, with what is expected there.

    Attributes:
        columns: (N, K) index in the schema.
        events, numbers, codes: (N, K) see `vaewatch.scoring.expected.Expected`.
        falls: (N, K) nats by which the score falls with it; 0 for a fall too small to count.
    """

    columns: NDArray[np.int64]
    events: NDArray[np.int64]
    numbers: NDArray[np.float64]
    codes: NDArray[np.int64]
    falls: NDArray[np.float64]

    def best(self, most: int) -> Iterator[list[Cell]]:
        """Yield the columns of each record with the largest falls, largest first."""
        top = np.argsort(-self.falls, axis=1, kind="stable")[:, :most]
        at = top + np.arange(len(top))[:, None] * self.falls.shape[1]
        found = (self.columns, self.events, self.numbers, self.codes, self.falls)
        cells = (values.take(at).tolist() for values in found)
        for own in zip(*cells, strict=True):
            yield [cell for cell in zip(*own, strict=True) if cell[-1] > 0]


@dataclass(frozen=True)
class Explainer:
    """Finds the columns that raise a score."""

    network: Network
    rule: ScoreRule
    candidates: Candidates
    expectation: Expectation
    exchange: Exchange
    mending: Mending | None = None

    def reasons(
        self, scored: ScoredTable, rows: NDArray[np.int64], most: int
    ) -> list[tuple[Reason, ...]]:
        """Return at most `most` reasons for each of these rows, the largest contribution first."""
        schema = scored.table.schema
        tries = min(len(schema.columns), max(CANDIDATES, most + SPARE))
        step = max(1, TILE // tries)  # so that a step's candidates fill a tile
        out: list[tuple[Reason, ...]] = []
        for some in (rows[start : start + step] for start in range(0, len(rows), step)):
            tried = self._try(scored, some, tries)
            done = Tries(scored.scores[some], tried.columns, tried.falls.max(1))
            pairs = self.exchange.find(scored.table.take(some), scored.features[some].values, done)
            each = zip(some.tolist(), tried.best(most), pairs.cells(), strict=True)
            out += [
                tuple(self._reasons_of(scored.table, row, cells, pair))[:most]
                for row, cells, pair in each
            ]
        return out

    def _try(self, scored: ScoredTable, rows: NDArray[np.int64], most: int) -> Tried:
        """Try what is expected in each record's candidates, (N, K)."""
        given, whitened = scored.features[rows], scored.forward.whitened
        whitened = self.network.whitened(given.values) if whitened is None else whitened[rows]
        broken = self._broken(scored.table, rows, given)
        columns = self.candidates.pick(
            given, whitened, most, None if broken is None else broken.columns
        )
        at = np.repeat(np.arange(len(rows)), most)
        observed = given[at]
        cells = Cells(observed.values, columns.ravel())
        blank = self.network.whitened(self.expectation.blank(cells))
        unseen = observed.unseen.copy()
        unseen[np.arange(len(unseen)), cells.columns] = False
        if broken is None or self.mending is None:
            expected = self.expectation.expect(cells, blank)
        else:
            own = broken.take(at)
            excluded = self.mending.excluded(own, cells)
            expected = self.expectation.expect(cells, blank, excluded)
            self.mending.mend(own, at, cells, expected, unseen)
        replaced = Features(expected.features, unseen, observed.any_unseen)
        falls = self._falls(scored.scores[rows[at]], observed, replaced)
        return Tried(
            columns,
            expected.events.reshape(columns.shape),
            expected.numbers.reshape(columns.shape),
            expected.codes.reshape(columns.shape),
            falls.reshape(columns.shape),
        )

    def _broken(self, table: Table, rows: NDArray[np.int64], features: Features) -> Broken | None:
        """Return what rules between columns some records break; None if none does."""
        if self.mending is None or not features.any_unseen:
            return None
        broken = self.mending.broken(table.take(rows))
        return broken if broken.columns.any() else None

    def _falls(
        self, scores: NDArray[np.float64], observed: Features, replaced: Features
    ) -> NDArray[np.float64]:
        """Return by how much each score falls, (M,); 0 where the record is as expected."""
        falls = np.zeros(len(scores))
        changed = (replaced.values != observed.values).any(1)
        if observed.any_unseen:
            changed |= (replaced.unseen != observed.unseen).any(1)
        rows = changed.nonzero()[0]
        if len(rows):
            some = replaced[rows]
            falls[rows] = scores[rows] - self.rule.total(self.network.forward(some.values), some)
        by_network = scores - self.rule.unseen * observed.unseen.sum(1)
        falls[falls <= np.maximum(LEAST_NATS, LEAST_SHARE * by_network)] = 0.0
        return falls

    def _reasons_of(
        self, table: Table, row: int, cells: list[Cell], pair: tuple[int, int, float]
    ) -> Iterator[Reason]:
        schema, fall = table.schema, pair[2]
        exchanged = set(pair[:2]) if fall else set()
        if fall:
            one, other = (schema.columns[column] for column in pair[:2])
            values = table.observed(row, one), table.observed(row, other)
            yield Reason(one.name, *values, fall)
            yield Reason(other.name, *values[::-1], fall)
        for column, event, number, code, fall in cells:
            if column in exchanged:
                continue
            own = schema.columns[column]
            expected = self.expectation.value(column, event, number, code)
            observed = table.observed(row, own)
            if observed == expected:
                continue
            if own.part is not None and observed is not None:
                words = words_of(table, row, own, expected)
                yield CalendarReason(own.name, observed, expected, fall, words)
            else:
                yield Reason(own.name, observed, expected, fall)


def words_of(table: Table, row: int, column: Column, expected: Value) -> str:
    """Return when a record was made, and when its like usually are; where it is no exception to
    that, when this one is expected.
    """
    schema = table.schema
    numbers = {c.part: float(table.numbers[row, schema.place[c.name]]) for c in schema.circular}
    hour, weekday = numbers.get(Part.HOUR), numbers.get(Part.WEEKDAY)
    day = f"on a {named(weekday, Part.WEEKDAY)}" if weekday is not None else ""
    if column.part is Part.HOUR and hour is not None:
        at = f"at {named(hour, Part.HOUR)} {day}".rstrip()
    elif column.part is Part.WEEKDAY:
        at = day
    else:
        at = f"on {named(numbers[Part.DAY], Part.DAY)}"
    usual = usual_words(column)
    if usual and not is_usual(column, float(table.numbers[row, schema.place[column.name]])):
        return f"{at}, {usual}"
    return (
        f"{at}, expected {named(expected, Part.HOUR) if isinstance(expected, float) else expected}"
    )
