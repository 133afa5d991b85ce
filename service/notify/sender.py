"""notifications that wait -> a receiver, one attempt at a time, until it has taken them.

Each is sent at least once: what was sent is removed afterwards, so that a process that is killed
in between leaves it to be sent again, under the same id.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from vaewatch.scoring.time.form import SECOND
from vaewatch.service.notify import outbox, signature
from vaewatch.service.notify.announcer import holding
from vaewatch.service.notify.lease import Lease
from vaewatch.service.notify.notification import ENDED, Notification
from vaewatch.service.notify.outbox import Letter
from vaewatch.service.notify.post import Answer, Unreachable, post
from vaewatch.service.notify.receiver import Receiver
from vaewatch.service.store.database import Database
from vaewatch.service.watch.families.notifications import DROPPED, FAILED, SENT, NotificationSeries

log = logging.getLogger("vaewatch.service")

PAUSE = 1.0  # seconds between looks at what waits
OTHERS = 5.0  # seconds between looks whether the process that sends has gone


@dataclass(frozen=True)
class Patience:
    """How long to wait after so many failures in a row: twice as long each time, and by chance up
    to half of that less, so that many senders do not come at once.
    """

    first: float = 1.0  # seconds
    longest: float = 300.0
    longest_refused: float = 3600.0  # of one message that the receiver does not want

    def after(self, failures: int, longest: float | None = None) -> float:
        most = min(self.first * 2.0 ** min(failures - 1, 30), longest or self.longest)
        return most * random.uniform(0.5, 1.0)


@dataclass
class Sender:
    """Sends what waits for one receiver, if no other process does."""

    database: Database
    receiver: Receiver
    lease: Lease
    series: NotificationSeries
    patience: Patience = Patience()
    _failures: int = field(default=0, init=False)  # in a row
    _not_before: float = field(default=0.0, init=False)  # of the monotonic clock
    _sent: list[Letter] = field(default_factory=list, init=False)  # the store does not know yet
    _repeat_at: float = field(default=0.0, init=False)

    def step(self) -> float:
        """Make at most one attempt; return the seconds until the next step.

        Raises:
            StoreAway: the store does not answer.
        """
        name = self.receiver.name
        if not self.lease.held():
            self.series.note(name, 0, 0.0)
            return OTHERS
        if self._sent:
            self._remove_sent()
        self._note()
        wait = self._not_before - monotonic()
        if wait > 0:
            return min(wait, PAUSE)
        letters = self._due()
        if letters:
            self._send(letters)
            return 0.0 if not self._failures else min(PAUSE, self._not_before - monotonic())
        self._repeat()
        return PAUSE

    @property
    def _key(self) -> str:
        return self.receiver.address.key

    def _note(self) -> None:
        """Drop what has waited too long, and note what waits."""
        now = time.time_ns() // 1000
        with self.database.reading() as connection:
            waiting = outbox.waiting(connection, self._key, now)
        if waiting.seconds * SECOND > outbox.MOST_AGE:
            with self.database.writing() as connection:
                old = outbox.forget_old(connection, self._key, now)
            self.count_dropped(old)
        self.series.note(self.receiver.name, waiting.letters, waiting.seconds)

    def count_dropped(self, n: int) -> None:
        """Count notifications that will not be sent."""
        if n:
            self.series.count(self.receiver.name, DROPPED, n)
            log.error("%d notifications to %s were dropped", n, self.receiver)

    def _due(self) -> list[Letter]:
        most, now = self.receiver.format.most, time.time_ns() // 1000
        with self.database.reading() as connection:
            found = outbox.due(connection, self._key, now, most)
        if not self.receiver.format.settle:
            return found
        opened = {each.notification.data.id for each in found if outbox.is_opening(each)}
        return [each for each in found if not _ends_one_of(each.notification, opened)]

    def _send(self, letters: Sequence[Letter]) -> None:
        answer = self._post([each.notification for each in letters], letters[0].message)
        if self.lease.lost:
            return  # the service has ended meanwhile
        if answer is not None and answer.taken:
            self.series.count(self.receiver.name, SENT, len(letters))
            self._sent = list(letters)
            self._remove_sent()
        else:
            self.series.count(self.receiver.name, FAILED, len(letters))
            if answer is not None and answer.refused:
                self._postpone(letters)

    def _post(self, notifications: Sequence[Notification], message: str) -> Answer | None:
        """Make one attempt; return None where nothing was answered."""
        now = time.time()
        body = self.receiver.format.body(notifications, now)
        headers = {}
        if self.receiver.secrets:
            headers = signature.headers(self.receiver.secrets, message, int(now), body)
        try:
            answer = post(self.receiver.address, body, headers)
        except Unreachable as error:
            self._fail(str(error), 0.0)
            return None
        if answer.taken:
            self._succeed()
        else:
            self._fail(str(answer), answer.wait)
        return answer

    def _fail(self, why: str, wait: float) -> None:
        self._failures += 1
        self._not_before = monotonic() + max(wait, self.patience.after(self._failures))
        if self._failures == 1:
            log.warning("a notification to %s failed and is sent again: %s", self.receiver, why)

    def _succeed(self) -> None:
        if self._failures:
            log.info("notifications to %s arrive again", self.receiver)
        self._failures, self._not_before = 0, 0.0

    def _remove_sent(self) -> None:
        sent, settle = self._sent, self.receiver.format.settle
        now = time.time_ns() // 1000
        with self.database.writing() as connection:
            outbox.remove(connection, sent, now)
            if settle:
                until = now + round(settle * SECOND)
                outbox.settle(connection, self._key, sent, until)
        self._sent = []

    def _postpone(self, letters: Sequence[Letter]) -> None:
        refusals = letters[0].refusals + 1
        seconds = self.patience.after(refusals, self.patience.longest_refused)
        until = time.time_ns() // 1000 + round(seconds * SECOND)
        with self.database.writing() as connection:
            outbox.postpone(connection, [each.number for each in letters], until)

    def _repeat(self) -> None:
        """Send what holds again, where the receiver would else take it for ended."""
        every, most = self.receiver.format.repeat, self.receiver.format.most
        if not every or monotonic() < self._repeat_at:
            return
        with self.database.reading() as connection:
            notifications = holding(connection)
        for start in range(0, len(notifications), most):
            answer = self._post(notifications[start : start + most], "")
            if answer is None or not answer.taken:
                return
        self._repeat_at = monotonic() + every


def _ends_one_of(notification: Notification, ids: set[str]) -> bool:
    return notification.type == ENDED and notification.data.id in ids
