"""notifications -> the store -> those that are due. What waits is bounded in number and age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from vaewatch.service.notify.notification import ENDED, OPENED, Notification
from vaewatch.service.store.tables import outbox

MOST = 10_000  # that wait for one receiver
MICRO = 10**6
MOST_AGE = 3 * 86_400 * MICRO  # then nobody needs it any more


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


def put(
    connection: Connection,
    receiver: str,
    message: str,
    notification: Notification,
    times: tuple[int, int],
) -> int:
    """Add a notification, and return how many others had to go. times: now, and when it is due."""
    at, due = times
    connection.execute(
        insert(outbox).values(
            receiver=receiver,
            message=message,
            incident=notification.data.id,
            type=notification.type,
            at=at,
            due=due,
            content=notification.encoded(),
        )
    )
    return _keep_newest(connection, receiver)


def _keep_newest(connection: Connection, receiver: str) -> int:
    """Drop the oldest ones beyond the most that may wait."""
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


def remove(connection: Connection, letters: Sequence[int]) -> None:
    """Remove what was sent."""
    connection.execute(delete(outbox).where(outbox.c.number.in_(letters)))


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


def waiting(connection: Connection, receiver: str, now: int) -> Waiting:
    """Return what waits for a receiver."""
    query = select(func.count(), func.min(outbox.c.at)).where(outbox.c.receiver == receiver)
    letters, oldest = connection.execute(query).one()
    return Waiting(letters, 0.0 if oldest is None else max(0.0, (now - oldest) / MICRO))
