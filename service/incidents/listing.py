"""filters -> incidents of the store, a page at a time, the newest first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct, structs
from sqlalchemy import Connection, false, or_, select, tuple_
from sqlalchemy.engine import Row

from vaewatch.scoring.incidents.described import IncidentReport
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.service.http.problems import Malformed
from vaewatch.service.incidents.mark import Mark, mark_of
from vaewatch.service.incidents.rows import report_in, stored_name
from vaewatch.service.store.moments import moment_text
from vaewatch.service.store.tables import ids, incidents, marks

MOST, USUAL = 1_000, 100  # incidents of a page
UNLABELLED = "none"
NOTHING = "there is no incident of this id; GET /v1/incidents lists those there are."
STATES = OPEN, ENDED = ("open", "ended")
LARGEST = 2**63 - 1  # of the numbers that a column can hold
_CURSOR = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,19})")
_ID = re.compile(r"[0-9a-f]{12}")


class KeptIncident(IncidentReport, frozen=True, kw_only=True):
    """An incident, with what people said of it."""

    label: Annotated[
        Label | None, Meta(description="What was said of it last, unless it was withdrawn.")
    ] = None
    marks: Annotated[tuple[Mark, ...], Meta(description="All that was said, oldest first.")] = ()
    muted: Annotated[
        str | None,
        Meta(description="The pattern that silences it; of one marked `expected`, its own."),
    ] = None
    notified: Annotated[str | None, Meta(description="When a receiver was first told of it.")] = (
        None
    )


@dataclass(frozen=True)
class Query:
    """Which incidents are asked for. since, until: those that were going on in between. chance:
    those that are so rare, or rarer.
    """

    since: int | None = None
    until: int | None = None
    state: str | None = None
    group: str | None = None
    column: str | None = None
    label: str | None = None
    muted: bool | None = None
    chance: float | None = None
    cursor: tuple[int, int] | None = None
    limit: int = USUAL


class Page(Struct):
    """Incidents, and where the next ones begin."""

    incidents: list[KeptIncident]
    next: str | None


def cursor_of(text: str) -> tuple[int, int]:
    """Read a cursor.

    Raises:
        Malformed: it is none that a page has given.
    """
    found = _CURSOR.fullmatch(text)
    first, key = (int(found[1]), int(found[2])) if found else (LARGEST + 1, 0)
    if max(abs(first), key) > LARGEST:
        raise Malformed("'cursor' must be the 'next' of another page, got another text.")
    return first, key


def page_of(connection: Connection, query: Query, now: int) -> Page:
    """Return a page of incidents."""
    t = incidents.c
    wanted = select(incidents).where(*_conditions(query, now))
    wanted = wanted.order_by(t.first.desc(), t.key.desc()).limit(query.limit + 1)
    rows = list(connection.execute(wanted))
    more, rows = len(rows) > query.limit, rows[: query.limit]
    last = f"{rows[-1].first}.{rows[-1].key}" if more else None
    return Page(_kept(connection, rows, now), last)


def _conditions(query: Query, now: int) -> Iterable[Any]:
    t = incidents.c
    if query.since is not None:
        yield t.last >= query.since
    if query.until is not None:
        yield t.first < query.until
    if query.state is not None:
        yield (t.closed == false()) & (t.ends >= now) if query.state == OPEN else t.ends < now
    if query.group is not None:
        yield t.name == stored_name(query.group)
    if query.column is not None:
        yield t.main == stored_name(query.column)
    if query.label is not None:
        yield t.label.is_(None) if query.label == UNLABELLED else t.label == query.label
    if query.muted is not None:
        muted = or_(t.pattern != "", t.label == Label.EXPECTED)
        yield (
            muted
            if query.muted
            else (t.pattern == "") & or_(t.label.is_(None), t.label != Label.EXPECTED)
        )
    if query.chance is not None:
        yield t.chance <= query.chance
    if query.cursor is not None:
        yield tuple_(t.first, t.key) < tuple_(*query.cursor)


def find(connection: Connection, id: str, now: int) -> KeptIncident | None:
    """Return an incident by an id that it has or had."""
    row = row_of(connection, id)
    return None if row is None else _kept(connection, [row], now)[0]


def row_of(connection: Connection, id: str) -> Row[Any] | None:
    """Return the row of an incident by an id that it has or had."""
    if not _ID.fullmatch(id):
        return None
    query = select(incidents).join(ids, ids.c.incident == incidents.c.key).where(ids.c.id == id)
    return connection.execute(query).first()


def _kept(connection: Connection, rows: Sequence[Row[Any]], now: int) -> list[KeptIncident]:
    said: dict[int, list[Mark]] = {row.key: [] for row in rows if row.label is not None}
    said |= {row.key: [] for row in rows} if len(rows) == 1 else {}
    patterns: dict[int, str] = {}
    query = (
        select(ids.c.incident.label("key"), marks)
        .join(ids, ids.c.id == marks.c.incident)
        .where(ids.c.incident.in_(list(said)))
        .order_by(marks.c.number)
    )
    for row in connection.execute(query) if said else ():
        said[row.key].append(mark_of(row))
        if row.pattern is not None:
            patterns[row.key] = row.pattern
    return [_one(row, tuple(said.get(row.key, ())), patterns.get(row.key), now) for row in rows]


def _one(row: Row[Any], said: tuple[Mark, ...], pattern: str | None, now: int) -> KeptIncident:
    report = structs.replace(report_in(row), ongoing=row.ends >= now)
    fields = structs.asdict(report)
    return KeptIncident(
        **fields,
        label=None if row.label is None else Label(row.label),
        marks=said,
        muted=row.pattern or (pattern if row.label == Label.EXPECTED else None),
        notified=None if row.notified is None else moment_text(row.notified),
    )
