"""an incident, earlier ones -> those most like it, and what was said of them.

Alike are incidents with the same main column. First come those of the same group, then those of
which somebody said something, then those with more of their reasons in common.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from msgspec import Struct
from sqlalchemy import Connection

from vaewatch.service.incidents import listing
from vaewatch.service.incidents.listing import KeptIncident, Query

MOST = 5
LOOKED_AT = 200  # of the same column, and as many of the same column and group


class Similar(Struct, frozen=True):
    """An earlier incident, in short. reason, by, at: of what was said of it last."""

    id: str
    group: str
    first: str | int
    last: str | int
    alarms: int
    label: str | None
    reason: str
    by: str | None
    at: str | None


def similar_to(connection: Connection, one: KeptIncident, now: int) -> list[Similar]:
    """Return the incidents before one that are most like it."""
    row = listing.row_of(connection, one.id)
    if row is None:
        return []
    alike = Query(column=row.main, until=row.first, limit=LOOKED_AT)
    near = Query(column=row.main, until=row.first, limit=LOOKED_AT, group=row.name)
    pages = (listing.page_of(connection, query, now).incidents for query in (near, alike))
    return [_short(each) for each in ranked(one, chain.from_iterable(pages))]


def ranked(one: KeptIncident, others: Iterable[KeptIncident]) -> list[KeptIncident]:
    """Return the few incidents most like one, the most alike first; others come newest first."""
    unique = {each.id: each for each in others if each.id != one.id}
    return sorted(
        unique.values(),
        key=lambda each: (each.group != one.group, each.label is None, -in_common(one, each)),
    )[:MOST]


def in_common(one: KeptIncident, other: KeptIncident) -> float:
    """Return how much of the reasons two incidents have in common, from 0 to 1."""
    mine = {column.name: column.share for column in one.columns}
    theirs = {column.name: column.share for column in other.columns}
    both = sum(min(share, theirs.get(name, 0.0)) for name, share in mine.items())
    every = sum(max(mine.get(name, 0.0), theirs.get(name, 0.0)) for name in mine | theirs)
    return both / every if every else 0.0


def _short(one: KeptIncident) -> Similar:
    last = one.marks[-1] if one.label is not None and one.marks else None
    return Similar(
        one.id,
        one.group.name,
        one.first,
        one.last,
        one.alarms,
        one.label,
        "" if last is None else last.reason,
        None if last is None else last.by,
        None if last is None else last.at,
    )
