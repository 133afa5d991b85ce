"""Incidents that have ended, and those that are so old that they are forgotten."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, false, select, update

from vaewatch.service.incidents.ledger import ENDED, Change, change_of
from vaewatch.service.store.moments import DAY, SECOND
from vaewatch.service.store.tables import groups, ids, incidents, sources

GRACE = 5 * SECOND  # in which what other workers have may still come
AT_A_TIME = 500
MOST_IN_MEMORY = 10_000  # incidents of a store that does not last


def close_ended(connection: Connection, moment: int, *, only_look: bool = False) -> list[Change]:
    """Note that incidents have ended, so that each is counted once; returns what has changed.

    only_look: change nothing; the caller does not hold the lock.
    """
    t = incidents.c
    query = select(incidents).where(t.closed == false(), t.ends < moment - GRACE)
    rows = list(connection.execute(query.order_by(t.ends).limit(1 if only_look else AT_A_TIME)))
    if not only_look and rows:
        done = update(incidents).where(t.key.in_([row.key for row in rows]))
        connection.execute(done.values(closed=True))
    return [change_of(ENDED, row.key, row.pattern, row._asdict()) for row in rows]


def forget_old(connection: Connection, until: int, *, lasts: bool) -> None:
    """Forget incidents that have ended, of which nobody said anything, and which have not changed
    since a moment, by the clock. A store that does not last keeps the newest of them alone.
    """
    t = incidents.c
    unsaid = (t.label.is_(None), t.closed != false())
    _forget(connection, select(t.key).where(t.seen < until, *unsaid))
    if not lasts:
        newest = select(t.key).order_by(t.seen.desc(), t.key).limit(MOST_IN_MEMORY)
        _forget(connection, select(t.key).where(*unsaid, t.key.not_in(newest)))
    connection.execute(delete(groups).where(groups.c.seen < until))
    connection.execute(delete(sources).where(sources.c.at < until - DAY))


def _forget(connection: Connection, keys: Any) -> None:
    connection.execute(delete(ids).where(ids.c.incident.in_(keys)))
    connection.execute(delete(incidents).where(incidents.c.key.in_(keys)))
