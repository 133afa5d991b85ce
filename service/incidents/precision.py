"""incidents with feedback -> how many were confirmed, with the interval of their share."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct
from sqlalchemy import Connection, func, literal_column, select

from vaewatch.scoring.incidents.feedback import share_interval
from vaewatch.service.store.moments import DAY, SECOND
from vaewatch.service.store.tables import incidents
from vaewatch.service.watch.families.incidents import Precision

MOST_GROUPS = 100  # names, those with most feedback first
WEEK = 7 * DAY
MONDAY = 4 * DAY  # 1970-01-05


class Tally(Struct):
    """Incidents by what people said of them. precision: confirmed among confirmed and false."""

    name: Annotated[str, Meta(description="Of the column or group, or Monday of the week.")]
    confirmed: int = 0
    false_alarm: int = 0
    expected: int = 0
    unlabelled: int = 0
    precision: float | None = None
    lower: Annotated[float | None, Meta(description="Of its 95% interval.")] = None
    upper: float | None = None


class Summary(Struct):
    """What feedback says of incidents, those that a pattern silenced left out."""

    all: Tally
    columns: list[Tally]
    groups: list[Tally]
    weeks: list[Tally]


def precision_of(confirmed: int, false_alarms: int) -> Precision | None:
    """Return the share of what was confirmed and its interval; None where nothing was said."""
    n = confirmed + false_alarms
    if not n:
        return None
    return Precision(confirmed, false_alarms, confirmed / n, *share_interval(confirmed, n))


def counted(connection: Connection, since: int) -> dict[str | None, int]:
    """Return the incidents that began since a moment, by label."""
    query = select(incidents.c.label, func.count()).where(*_shown(since))
    return {label: n for label, n in connection.execute(query.group_by(incidents.c.label))}


def summary_of(connection: Connection, since: int) -> Summary:
    """Return what was said of the incidents that began since a moment."""
    # written out: PostgreSQL takes two parameters of the same value for different expressions
    week = (incidents.c.first - literal_column(str(MONDAY))) // literal_column(str(WEEK))
    return Summary(
        _all(connection, since),
        _by(connection, incidents.c.main, since),
        _by(connection, incidents.c.name, since),
        sorted(
            (_named(each) for each in _by(connection, week, since)), key=lambda each: each.name
        ),
    )


def _all(connection: Connection, since: int) -> Tally:
    rows = [("all", label, n) for label, n in counted(connection, since).items()]
    return next(iter(_tallies(rows)), Tally("all"))


def _named(tally: Tally) -> Tally:
    monday = int(float(tally.name)) * WEEK + MONDAY
    tally.name = datetime.fromtimestamp(monday / SECOND, UTC).date().isoformat()
    return tally


def _shown(since: int) -> tuple[Any, ...]:
    return incidents.c.first >= since, incidents.c.pattern == ""


def _by(connection: Connection, what: Any, since: int) -> list[Tally]:
    query = select(what.label("what"), incidents.c.label, func.count()).where(*_shown(since))
    counts: dict[Any, dict[str | None, int]] = {}
    for name, label, n in connection.execute(query.group_by(what, incidents.c.label)):
        counts.setdefault(name, {})[label] = n

    def rank(name: Any) -> tuple[int, int, Any]:
        every = sum(counts[name].values())
        return counts[name].get(None, 0) - every, -every, name

    names = heapq.nsmallest(MOST_GROUPS, counts, key=rank)
    return list(_tallies((name, *one) for name in names for one in counts[name].items()))


def _tallies(rows: Iterable[tuple[Any, str | None, int]]) -> Iterable[Tally]:
    found: dict[str, Tally] = {}
    for name, label, n in rows:
        tally = found.setdefault(str(name), Tally(str(name)))
        field = label or "unlabelled"
        setattr(tally, field, getattr(tally, field) + n)
    for tally in found.values():
        precision = precision_of(tally.confirmed, tally.false_alarm)
        if precision is not None:
            tally.precision, tally.lower = precision.share, precision.lower
            tally.upper = precision.upper
        yield tally
