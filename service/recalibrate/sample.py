"""pages of scores -> a uniform sample of some span of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.time.form import NO_TIME, SECOND
from vaewatch.service.incidents.confirmed import GroupSpan
from vaewatch.service.watch.scores import EVERY, MINUTE, Page

Mask = NDArray[np.bool_]


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
    """The minutes that `over` touches, without those that a span of `without` touches, and without
    the records of confirmed incidents.
    """

    over: TimeSpan
    without: tuple[TimeSpan, ...] = ()
    confirmed: tuple[GroupSpan, ...] = ()

    def holds(self, minutes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) starts of minutes -> (N,): which belong to it."""
        found = self.over.touches(minutes)
        for span in self.without:
            found &= ~span.touches(minutes)
        return found

    def before(self, seconds: float) -> Period:
        """Return the whole minutes before it, for so long, without the same spans."""
        until = self.over.since // MINUTE * MINUTE
        return Period(TimeSpan(until - seconds, until), self.without, self.confirmed)

    def confirms(self, kept: Kept) -> Mask:
        """(N,) records -> (N,): which are of confirmed incidents. They are found by their own
        moments; those that have none to the whole minute in which they were counted.
        """
        found = np.zeros(len(kept.at), np.bool_)
        spans: dict[int | None, list[GroupSpan]] = {}
        for one in self.confirmed:
            spans.setdefault(one.code, []).append(one)
        groups = kept.entities if len(kept.entities) else kept.codes
        timed = kept.timed
        for code, own in spans.items():
            mine = np.ones(len(found), np.bool_) if code is None else groups == code
            rows = np.flatnonzero(mine & timed)
            if len(rows):
                found[rows] |= _within(kept.moments[rows], [(o.first, o.last) for o in own])
            rows = np.flatnonzero(mine & ~timed)
            found[rows] |= _within(kept.at[rows], map(_minutes, own))
        return found


def _minutes(one: GroupSpan) -> tuple[int, int]:
    """Return the first and the last minute of an incident; a record's score is counted just before
    its alarm.
    """
    return (one.first // SECOND - 1) // MINUTE * MINUTE, one.last // SECOND


def _within(moments: NDArray[np.int64], spans: Iterable[tuple[int, int]]) -> Mask:
    """(N,) -> (N,): which lie in one of some spans, their ends among them."""
    firsts, lasts = np.array(sorted(spans), np.int64).T
    place = np.searchsorted(firsts, moments, side="right") - 1
    return np.asarray((place >= 0) & (moments <= np.maximum.accumulate(lasts)[place]))


@dataclass(frozen=True)
class Kept:
    """Kept records, (N,) each. at: the starts of their minutes, in Unix seconds.

    codes: empty where the artifact has no segment, entities where it has no window, moments where
        it has no time.
    """

    at: NDArray[np.int64]
    codes: NDArray[np.uint8]
    entities: NDArray[np.uint32]
    moments: NDArray[np.int64]

    @property
    def timed(self) -> Mask:
        """(N,) which have a time of their own."""
        if not len(self.moments):
            return np.zeros(len(self.at), np.bool_)
        return np.asarray(self.moments != NO_TIME)


@dataclass(frozen=True)
class Drawn:
    """A uniform sample of the records of a period, in order of time.

    scores: (n,) nats. at: (n,) when they were counted, to the minute, in Unix seconds.
    records: of the period, counted exactly; but where not all records are kept, those of
        confirmed incidents, which are not among `records`, are estimated from those that are.
    left_out: records of confirmed incidents. excluded: those in minutes that were left out.
    codes: (n,) their segments; empty where the artifact has no segment.
    entities: (n,) numbers of 32 bits, moments: (n,) in microseconds; empty where the artifact has
        no window. No record is there twice: with judge=all, requests may overlap.
    """

    scores: NDArray[np.float64]
    at: NDArray[np.int64]
    records: int
    codes: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    entities: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    moments: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    left_out: int = 0
    excluded: int = 0

    def of_segment(self, code: int) -> Drawn:
        """Return those of one segment, as many records as are drawn."""
        rows = self.codes == code
        n = int(rows.sum())
        return Drawn(self.scores[rows], self.at[rows], n, self.codes[rows])


NOTHING = Drawn(np.empty(0), np.empty(0, np.int64), 0)


@dataclass(frozen=True)
class _Part:
    """What one page holds of a period. All from `tickets` on: (n,) of its sample."""

    limit: int
    records: int
    left_out: int
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
        records = int(np.frombuffer(page.records, np.uint32)[counted].sum())
        left_out = 0
        if period.confirmed:
            out = rows & period.confirms(Kept(at, codes, entities, moments))
            left_out = min(round(int(out.sum()) * EVERY / page.limit), records)
            rows &= ~out
        return cls(
            page.limit,
            records - left_out,
            left_out,
            np.frombuffer(page.tickets, np.uint32)[rows],
            at[rows],
            np.frombuffer(page.scores, np.float32)[rows],
            codes[rows] if len(codes) else codes,
            entities[rows] if len(entities) else entities,
            moments[rows] if len(moments) else moments,
        )

    @property
    def any(self) -> bool:
        """Whether the period has records there, maybe of confirmed incidents alone."""
        return self.records + self.left_out > 0


def draw(pages: Iterable[Page], period: Period, most: int) -> Drawn:
    """Draw at most so many records of a period."""
    pages = list(pages)
    parts = [part for page in pages if (part := _Part.of(page, period)).any]
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
    records = sum(part.records for part in parts)
    found = Drawn(scores[rows], at[rows], records, codes[rows] if len(codes) else codes)
    found = replace(
        found,
        left_out=sum(part.left_out for part in parts),
        excluded=sum(_excluded(page, period) for page in pages),
    )
    if not len(entities):
        return found
    return replace(found, entities=entities[rows], moments=moments[rows])


def _excluded(page: Page, period: Period) -> int:
    """Return how many records came in the minutes that are left out."""
    minutes = page.start + MINUTE * np.arange(60)
    out = period.over.touches(minutes) & ~period.holds(minutes)
    return int(np.frombuffer(page.records, np.uint32)[out].sum())


def _once(entities: NDArray[np.uint32], moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,), (n,) -> (m,) a row for each entity and moment, in order."""
    order = np.lexsort((moments, entities))
    new = np.diff(moments[order], prepend=-1) != 0
    new |= np.diff(entities[order].astype(np.int64), prepend=-1) != 0
    return np.sort(order[new])
