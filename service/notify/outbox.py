"""notifications -> the store -> those that are due. What waits is bounded in number and age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from vaewatch.scoring.time.form import SECOND
from vaewatch.service.notify.notification import ENDED, OPENED, Notification
from vaewatch.service.store.tables import ids, incidents, outbox

MOST = 10_000  # that wait for one receiver
MOST_AGE = 3 * 86_400 * SECOND  # then nobody needs it any more


@dataclass(frozen=True)
class Letter:
    """A notification on its way to one receiver. message: its id, the same in each attempt."""

    number: int
    message: str
    refusals: int
    notification: Notification


@dataclass(frozen=True)
class Waiting:
    """How many wait for a receiver, and for how long the oldest one has, in seconds."""

    letters: int
    seconds: float


@dataclass(frozen=True)
class Posting:
    """A notification that is to wait for one receiver. due: when it may be sent."""

    receiver: str
    message: str
    notification: Notification
    due: int


def put(connection: Connection, postings: Sequence[Posting], now: int) -> None:
    """Have notifications wait."""
    rows = [
        {
            "receiver": each.receiver,
            "message": each.message,
            "incident": each.notification.data.id,
            "type": each.notification.type,
            "at": now,
            "due": each.due,
            "content": each.notification.encoded(),
        }
        for each in postings
    ]
    if rows:
        connection.execute(insert(outbox), rows)


def keep_newest(connection: Connection, receiver: str) -> int:
    """Drop the oldest ones beyond the most that may wait, and return how many."""
    of = outbox.c.receiver == receiver
    beyond = select(outbox.c.number).where(of).order_by(outbox.c.number.desc()).offset(MOST)
    newest = connection.execute(beyond.limit(1)).scalar()
    if newest is None:
        return 0
    return connection.execute(delete(outbox).where(of, outbox.c.number <= newest)).rowcount


def due(connection: Connection, receiver: str, now: int, most: int) -> list[Letter]:
    """Return what to send now in one body, the oldest first: one that was refused goes alone."""
    query = (
        select(outbox.c.number, outbox.c.message, outbox.c.refusals, outbox.c.content)
        .where(outbox.c.receiver == receiver, outbox.c.due <= now)
        .order_by(outbox.c.refusals > 0, outbox.c.number)
        .limit(most)
    )
    found = [
        Letter(number, message, refusals, Notification.decoded(content))
        for number, message, refusals, content in connection.execute(query)
    ]
    if found and found[0].refusals:
        return found[:1]
    return [letter for letter in found if not letter.refusals]


def remove(connection: Connection, sent: Sequence[Letter], now: int) -> None:
    """Remove what was sent, and note of each incident when a receiver first took it."""
    connection.execute(delete(outbox).where(outbox.c.number.in_([each.number for each in sent])))
    opened = [each.notification.data.id for each in sent if is_opening(each)]
    if opened:
        keys = select(ids.c.incident).where(ids.c.id.in_(opened))
        first = incidents.c.key.in_(keys), incidents.c.notified.is_(None)
        connection.execute(update(incidents).where(*first).values(notified=now))


def postpone(connection: Connection, letters: Sequence[int], until: int) -> None:
    """Send what was refused again later."""
    chosen = outbox.c.number.in_(letters)
    later = update(outbox).where(chosen).values(due=until, refusals=outbox.c.refusals + 1)
    connection.execute(later)


def settle(connection: Connection, receiver: str, sent: Sequence[Letter], until: int) -> None:
    """Keep the ends of incidents back of which the receiver has only now heard."""
    opened = [letter.notification.data.id for letter in sent if is_opening(letter)]
    if opened:
        ends = (
            outbox.c.receiver == receiver,
            outbox.c.type == ENDED,
            outbox.c.incident.in_(opened),
            outbox.c.due < until,
        )
        connection.execute(update(outbox).where(*ends).values(due=until))


def is_opening(letter: Letter) -> bool:
    return letter.notification.type == OPENED


def forget_old(connection: Connection, receiver: str, now: int) -> int:
    """Drop what has waited too long, and return how many."""
    old = delete(outbox).where(outbox.c.receiver == receiver, outbox.c.at < now - MOST_AGE)
    return connection.execute(old).rowcount


def forget_others(connection: Connection, receivers: Sequence[str], now: int) -> None:
    """Drop what has waited too long for receivers that are none any more."""
    old = outbox.c.at < now - MOST_AGE, outbox.c.receiver.not_in(receivers)
    connection.execute(delete(outbox).where(*old))


def waiting(connection: Connection, receiver: str, now: int) -> Waiting:
    """Return what waits for a receiver."""
    query = select(func.count(), func.min(outbox.c.at)).where(outbox.c.receiver == receiver)
    letters, oldest = connection.execute(query).one()
    return Waiting(letters, 0.0 if oldest is None else max(0.0, (now - oldest) / SECOND))
