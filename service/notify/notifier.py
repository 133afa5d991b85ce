"""settings, store -> threads that look for news and send it, apart from the scoring."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

from vaewatch.service.model.errors import StoreAway
from vaewatch.service.model.registry import Registry
from vaewatch.service.notify.announcer import Announcer, Style
from vaewatch.service.notify.lease import Lease
from vaewatch.service.notify.notification import ModelName
from vaewatch.service.notify.receiver import Receiver, receivers_of_settings
from vaewatch.service.notify.sender import OTHERS, PAUSE, Patience, Sender
from vaewatch.service.settings import Settings
from vaewatch.service.store.database import Database
from vaewatch.service.watch.families.notifications import NotificationSeries

log = logging.getLogger("vaewatch.service")

ANNOUNCER = "announcer"  # the name of a lease
AWAY = 2.0  # seconds between looks whether the store is back
LAST = 2.0  # seconds that an attempt which is under way has at the end

Step = Callable[[], float]  # what is done again and again; returns the seconds until the next time


@dataclass
class Notifier:
    """Notifies the receivers of one service of its incidents."""

    database: Database
    receivers: Sequence[Receiver]
    style: Style
    model: Callable[[], ModelName]
    series: NotificationSeries
    patience: Patience = Patience()
    _senders: dict[str, Sender] = field(default_factory=dict, init=False)  # by address
    _leases: dict[str, Lease] = field(default_factory=dict, init=False)  # by what is done
    _threads: dict[str, threading.Thread] = field(default_factory=dict, init=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)

    @classmethod
    def of(
        cls, settings: Settings, database: Database, registry: Registry, series: NotificationSeries
    ) -> Notifier:
        receivers = receivers_of_settings(settings.notify, settings.notify_format)
        style = Style(settings.notify_chance, settings.notify_records, settings.notify_link)

        def model() -> ModelName:
            name = registry.active.name
            return ModelName(name.name, name.version)

        return cls(database, receivers, style, model, series)

    def __post_init__(self) -> None:
        holder = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._announcer = Announcer(self.database, self.receivers, self.style, self.model)
        self._leases[ANNOUNCER] = Lease(self.database, ANNOUNCER, holder)
        for receiver in self.receivers:
            key = receiver.address.key
            lease = Lease(self.database, f"receiver {key}", holder)
            self._leases[receiver.name] = lease
            self._senders[key] = Sender(self.database, receiver, lease, self.series, self.patience)

    def start(self) -> None:
        """Begin to look and to send."""
        if not self.receivers:
            return
        self.series.begin(receiver.name for receiver in self.receivers)
        names = ", ".join(map(str, self.receivers))
        if not self.database.place.lasts:
            log.warning(
                "notifications that wait are gone when the service stops; --store keeps them"
            )
        log.info("rare incidents are sent to %s", names)
        steps: dict[str, Step] = {ANNOUNCER: self._announce}
        steps |= {sender.receiver.name: sender.step for sender in self._senders.values()}
        for name, step in steps.items():
            thread = threading.Thread(
                target=self._keep, args=(step,), name=f"notify-{name}", daemon=True
            )
            thread.start()
            self._threads[name] = thread

    def _keep(self, step: Step) -> None:
        """Step until the service ends."""
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = step()
            except StoreAway:  # which the store has logged
                wait = AWAY
            except Exception as error:
                log.error("notifications were not looked after", exc_info=error)
                wait = AWAY

    def _announce(self) -> float:
        if not self._leases[ANNOUNCER].held():
            return OTHERS
        found = self._announcer.look()
        for key, lost in found.lost.items():
            self._senders[key].count_dropped(lost)
        return 0.0 if found.more else PAUSE

    def close(self) -> None:
        """Stop, and let another process go on at once. What is under way then is sent again."""
        self._stopping.set()
        until = monotonic() + LAST
        for name, thread in self._threads.items():
            thread.join(max(0.0, until - monotonic()))
            lease = self._leases[name]
            if thread.is_alive():
                lease.lost = True  # it ends by itself
            else:
                lease.release()
