"""pages of scores -> a uniform sample of some span of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.service.watch.scores import MINUTE, Page


@dataclass(frozen=True)
class TimeSpan:
    """A span of time in Unix seconds, without its end."""

    since: float
    until: float

    def touches(self, minutes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) starts of minutes -> (N,): which have a moment in common with the span."""
        return np.asarray((minutes + MINUTE > self.since) & (minutes < self.until))


@dataclass(frozen=True)
class Period:
    """The minutes that `over` touches, without those that a span of `without` touches."""

    over: TimeSpan
    without: tuple[TimeSpan, ...] = ()

    def holds(self, minutes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) starts of minutes -> (N,): which belong to it."""
        found = self.over.touches(minutes)
        for span in self.without:
            found &= ~span.touches(minutes)
        return found

    def before(self, seconds: float) -> Period:
        """Return the whole minutes before it, for so long, without the same spans."""
        until = self.over.since // MINUTE * MINUTE
        return Period(TimeSpan(until - seconds, until), self.without)


@dataclass(frozen=True)
class Drawn:
    """A uniform sample of the records of a period, in order of time.

    scores: (n,) nats. at: (n,) when they were counted, to the minute, in Unix seconds.
    records, alarms: of the period, counted exactly.
    codes: (n,) their segments; empty where the artifact has no segment.
    entities: (n,) numbers of 32 bits, moments: (n,) in microseconds; empty where the artifact has
        no window. No record is there twice: with judge=all, requests may overlap.
    """

    scores: NDArray[np.float64]
    at: NDArray[np.int64]
    records: int
    alarms: int
    codes: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    entities: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    moments: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def of_segment(self, code: int) -> Drawn:
        """Return those of one segment, as many records as are drawn."""
        rows = self.codes == code
        n = int(rows.sum())
        return Drawn(self.scores[rows], self.at[rows], n, 0, self.codes[rows])


NOTHING = Drawn(np.empty(0), np.empty(0, np.int64), 0, 0)


@dataclass(frozen=True)
class _Part:
    """What one page holds of a period. All from `tickets` on: (n,) of its sample."""

    limit: int
    records: int
    alarms: int
    tickets: NDArray[np.uint32]
    at: NDArray[np.int64]
    scores: NDArray[np.float32]
    codes: NDArray[np.uint8]
    entities: NDArray[np.uint32]
    moments: NDArray[np.int64]

    @classmethod
    def of(cls, page: Page, period: Period) -> _Part:
        counted = period.holds(page.start + MINUTE * np.arange(60))
        at = page.start + MINUTE * np.frombuffer(page.minutes, np.uint8).astype(np.int64)
        rows, codes = period.holds(at), np.frombuffer(page.codes, np.uint8)
        entities = np.frombuffer(page.entities, np.uint32)
        moments = np.frombuffer(page.moments, np.int64)
        return cls(
            page.limit,
            int(np.frombuffer(page.records, np.uint32)[counted].sum()),
            int(np.frombuffer(page.alarms, np.uint32)[counted].sum()),
            np.frombuffer(page.tickets, np.uint32)[rows],
            at[rows],
            np.frombuffer(page.scores, np.float32)[rows],
            codes[rows] if len(codes) else codes,
            entities[rows] if len(entities) else entities,
            moments[rows] if len(entities) else moments,
        )


def draw(pages: Iterable[Page], period: Period, most: int) -> Drawn:
    """Draw at most so many records of a period."""
    parts = [part for page in pages if (part := _Part.of(page, period)).records]
    if not parts:
        return NOTHING
    limit = min(part.limit for part in parts)  # the same chance for every record
    tickets = np.concatenate([part.tickets for part in parts])
    rows = np.flatnonzero(tickets < limit)
    entities = np.concatenate([part.entities for part in parts])
    moments = np.concatenate([part.moments for part in parts])
    if len(entities):
        rows = rows[_once(entities[rows], moments[rows])]
    if len(rows) > most:  # the lowest tickets are a uniform sample, too
        rows = rows[np.argpartition(tickets[rows], most)[:most]]
    at = np.concatenate([part.at for part in parts])
    rows = rows[at[rows].argsort(kind="stable")]
    scores = np.concatenate([part.scores for part in parts]).astype(np.float64)
    codes = np.concatenate([part.codes for part in parts]).astype(np.int32)
    records, alarms = sum(part.records for part in parts), sum(part.alarms for part in parts)
    found = Drawn(scores[rows], at[rows], records, alarms, codes[rows] if len(codes) else codes)
    if not len(entities):
        return found
    return replace(found, entities=entities[rows], moments=moments[rows])


def _once(entities: NDArray[np.uint32], moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,), (n,) -> (m,) a row for each entity and moment, in order."""
    order = np.lexsort((moments, entities))
    new = np.diff(moments[order], prepend=-1) != 0
    new |= np.diff(entities[order].astype(np.int64), prepend=-1) != 0
    return np.sort(order[new])
