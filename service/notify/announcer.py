"""incidents of the store -> notifications that wait in it, and what receivers were told.

Both change in one transaction, so that whoever is killed in between loses nothing and repeats
nothing. What there is to say follows from what the store holds, not from events: the next look,
of this process or another, finds what the last one had no time for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import structs
from sqlalchemy import (
    Connection,
    Row,
    Select,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from vaewatch.scoring.incidents.chance import LEAST
from vaewatch.scoring.incidents.described import IncidentReport
from vaewatch.scoring.time.form import SECOND
from vaewatch.service.notify.news import Standing, Told, news_of
from vaewatch.service.notify.notification import (
    ENDED,
    OPENED,
    Data,
    ModelName,
    Notification,
    sendable,
    stamp,
)
from vaewatch.service.notify.outbox import Posting, forget_others, keep_newest, put
from vaewatch.service.notify.receiver import Receiver
from vaewatch.service.store.database import Database
from vaewatch.service.store.tables import ids, incidents, numbers, told
from vaewatch.service.store.upsert import upsert

AT_A_TIME = 200  # notifications of one look: meanwhile no worker's alarms are taken
LOOKED_BACK = 3600 * SECOND  # to changes that an earlier look may not have found, or not needed
BEGUN = "notified"  # the name of a number: notifications have begun, with this limit
COLUMNS = (
    incidents.c.key,
    incidents.c.id,
    incidents.c.alarms,
    incidents.c.severity,
    incidents.c.chance,
    incidents.c.closed,
    incidents.c.label,
)
TOLD = (told.c.id, told.c.number, told.c.alarms, told.c.severity, told.c.ended)


@dataclass(frozen=True)
class Style:
    """What the settings say about notifications.

    most_chance: incidents that normal records bring with a higher chance are no news.
    records: whether ids of records go out. link: the address of the console.
    """

    most_chance: float
    records: bool = False
    link: str | None = None

    def link_of(self, id: str) -> str | None:
        return None if self.link is None else f"{self.link.rstrip('/')}/#incident={id}"


@dataclass(frozen=True)
class Thread:
    """An incident that receivers know, by the id under which it was opened.

    number: of its notifications so far. told: what was said last; None if nothing was.
    key: its row now; None if there is none any more.
    """

    id: str
    number: int
    told: Told | None
    key: int | None

    @property
    def is_open(self) -> bool:
        return self.told is not None and self.told.ended is None


@dataclass(frozen=True)
class News:
    """Something to say of an incident.

    into: the id of another one of which it is a part now. over: no alarm now would be a part of
    it, as of records that came late.
    """

    type: str
    thread: Thread
    into: str | None = None
    over: bool = False


@dataclass(frozen=True)
class Found:
    """What a look has found. lost: notifications that had to go because too many wait, by the key
    of a receiver's address. more: there is more to say.
    """

    lost: Mapping[str, int] = field(default_factory=dict)
    more: bool = False


@dataclass
class Announcer:
    """Looks for news: first of all incidents, then of those that have changed. Only one of all
    processes may, at a time.
    """

    database: Database
    receivers: Sequence[Receiver]
    style: Style
    model: Callable[[], ModelName]
    _since: int = field(default=0, init=False)  # when those have changed that may be news

    def look(self, seconds: float | None = None) -> Found:
        """Announce what is new at a Unix time.

        Raises:
            StoreAway: the store does not answer.
        """
        now = round((time.time() if seconds is None else seconds) * SECOND)
        with self.database.reading() as connection:
            anew = not _is_begun(connection, self.style)
            quiet = not anew and not self._news(connection, now)
        found = Found() if quiet else self._announce(now, anew=anew)
        if not found.more:
            self._since = now - LOOKED_BACK
        return found

    def _news(self, connection: Connection, now: int) -> list[News]:
        return _news(connection, self.style.most_chance, now, self._since)

    def _announce(self, now: int, *, anew: bool) -> Found:
        with self.database.writing(alone=True) as connection:
            if anew:
                _begin(connection, self.style, now)
            news = self._news(connection, now)
            look = _Look(connection, self, now)
            put(connection, [each for one in news[:AT_A_TIME] for each in look.say(one)], now)
            keys = [receiver.address.key for receiver in self.receivers]
            lost = {key: keep_newest(connection, key) for key in keys}
            forget_others(connection, keys, now)
        return Found(lost, more=len(news) > AT_A_TIME)


def _is_begun(connection: Connection, style: Style) -> bool:
    """Return whether notifications of this limit on the chance have begun in this store."""
    query = select(numbers.c.value).where(numbers.c.name == BEGUN)
    return connection.execute(query).scalar() == _as_number(style)


def _begin(connection: Connection, style: Style, now: int) -> None:
    """Take the incidents that have ended already for told: they are no news. Forget what was told
    of those that are not kept any more.
    """
    gone = told.c.ended.is_not(None) & told.c.id.not_in(select(ids.c.id))
    connection.execute(delete(told).where(gone))
    known = select(ids.c.incident).join(told, told.c.id == ids.c.id)
    t = incidents.c
    over = (t.closed.is_(True), t.chance <= style.most_chance, t.key.not_in(known))
    values = (t.id, literal(now), literal(0), t.alarms, t.severity, literal(now), literal(b""))
    names = ["id", "at", "number", "alarms", "severity", "ended", "content"]
    connection.execute(insert(told).from_select(names, select(*values).where(*over)))
    upsert(connection, numbers, [{"name": BEGUN, "value": _as_number(style)}])


def _as_number(style: Style) -> int:
    return round(-1000 * math.log10(max(style.most_chance, LEAST)))


def _news(connection: Connection, most_chance: float, now: int, since: int) -> list[News]:
    """Return what there is to say of incidents: of those that are rare and of which receivers do
    not know all, unless a pattern silences them, and of those that they take for open. `since`:
    those that have not changed since then are no news, unless receivers take them for open.
    """
    threads, rows = _threads(connection, since), _rows(connection, most_chance, since)
    by_key: dict[int | None, list[Thread]] = {}
    for thread in threads:
        by_key.setdefault(thread.key, []).append(thread)
    found = [News(ENDED, t) for t in threads if t.is_open and t.key not in rows]
    for key, row in rows.items():
        found += _news_of(row, by_key.get(key, []), most_chance, now)
    return found


def _rows(
    connection: Connection, most_chance: float, since: int
) -> dict[int, Row[*tuple[Any, ...]]]:
    """Return incidents of which there may be news, by key."""
    t = incidents.c
    rare = (
        select(t.key)
        .outerjoin(ids, ids.c.incident == t.key)
        .outerjoin(told, told.c.id == ids.c.id)
        .where(t.pattern == "", t.chance <= most_chance, t.seen >= since)
        .group_by(t.key, t.alarms)
        .having(func.coalesce(func.max(told.c.alarms), 0) < t.alarms)
    )
    query = select(*COLUMNS).where(or_(t.key.in_(rare), t.key.in_(_open_keys())))
    return {int(row.key): row for row in connection.execute(query.order_by(t.key))}


def _open_keys() -> Select[tuple[int]]:
    """Select the keys of the incidents that receivers take for open."""
    known = select(ids.c.incident).join(told, told.c.id == ids.c.id)
    return known.where(told.c.ended.is_(None))


def _threads(connection: Connection, since: int) -> list[Thread]:
    """Return the incidents that receivers know and of which there may be news, those that were
    opened first in front.
    """
    t = incidents.c
    known = (
        select(*TOLD, told.c.at, ids.c.incident.label("key"))
        .select_from(told)
        .outerjoin(ids, ids.c.id == told.c.id)
    )
    changed = select(ids.c.id).where(ids.c.incident.in_(select(t.key).where(t.seen >= since)))
    over = known.where(told.c.ended.is_not(None), told.c.id.in_(changed))
    more = over.join(incidents, t.key == ids.c.incident).where(t.alarms > told.c.alarms)
    queries = (known.where(told.c.ended.is_(None)), more)
    rows = [row for query in queries for row in connection.execute(query)]
    return [
        Thread(row.id, row.number, Told(row.alarms, row.severity, row.ended), row.key)
        for row in sorted(rows, key=lambda row: (row.at, row.id))
    ]


def _news_of(
    row: Row[*tuple[Any, ...]], threads: Sequence[Thread], most_chance: float, now: int
) -> list[News]:
    """Return what is new of an incident. Of several that have become one, the one that was opened
    first goes on.
    """
    live = [thread for thread in threads if thread.is_open]
    main = (live or [*threads, Thread(row.id, 0, None, row.key)])[0]
    found = [News(ENDED, other, main.id) for other in live[1:]]
    standing = Standing(row.alarms, row.severity, row.chance, row.closed, row.label)
    news = news_of(standing, main.told, most_chance, now)
    return found if news is None else [*found, News(news, main, over=row.closed)]


@dataclass(frozen=True)
class _Look:
    """What a look puts into the store. now: in microseconds since 1970."""

    connection: Connection
    announcer: Announcer
    now: int

    def say(self, news: News) -> Iterator[Posting]:
        """Keep what is said, and return it for each receiver."""
        style, thread = self.announcer.style, news.thread
        ongoing = news.type != ENDED and not news.over
        report = sendable(self._report(news), records=style.records)
        report = structs.replace(report, ongoing=ongoing)
        data = Data(thread.id, self.announcer.model(), report, style.link_of(thread.id), news.into)
        notification = Notification(news.type, stamp(self.now / SECOND), data)
        self._keep(thread, notification)
        message = f"msg_{thread.id}_{thread.number + 1}"
        for receiver in self.announcer.receivers:
            settle = receiver.format.settle if news.type == ENDED else 0.0
            due = self.now + round(settle * SECOND)
            yield Posting(receiver.address.key, message, notification, due)

    def _report(self, news: News) -> IncidentReport:
        """Return the present report; where there is none of its own any more, that of the last
        notification.
        """
        if news.into is None and news.thread.key is not None:
            query = select(incidents.c.report).where(incidents.c.key == news.thread.key)
            content = self.connection.execute(query).scalar()
            if content is not None:
                return msgspec.json.decode(content, type=IncidentReport)
        last = select(told.c.content).where(told.c.id == news.thread.id)
        return Notification.decoded(self.connection.execute(last).scalar_one()).data.incident

    def _keep(self, thread: Thread, notification: Notification) -> None:
        report = notification.data.incident
        values = {
            "number": thread.number + 1,
            "at": self.now,
            "alarms": report.alarms,
            "severity": report.peak_severity,
            "ended": self.now if notification.type == ENDED else None,
            "content": notification.encoded(),
        }
        if notification.type != OPENED:
            del values["at"]
        change = update(told).where(told.c.id == thread.id).values(**values)
        if not self.connection.execute(change).rowcount:
            self.connection.execute(insert(told).values(id=thread.id, **values))


def holding(connection: Connection) -> list[Notification]:
    """Return the last notification of each incident that receivers take for open."""
    query = select(told.c.content).where(told.c.ended.is_(None)).order_by(told.c.id)
    return [Notification.decoded(content) for content in connection.execute(query).scalars()]
