"""The name of a format -> Format: how notifications are put into a body, and how many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vaewatch.service.notify.address import ALERTMANAGER, SLACK, WEBHOOK
from vaewatch.service.notify.formats.alertmanager import alerts
from vaewatch.service.notify.formats.slack import message
from vaewatch.service.notify.formats.webhook import event
from vaewatch.service.notify.notification import Notification


@dataclass(frozen=True)
class Format:
    """A format of bodies.

    body: notifications and the Unix time of the attempt -> bytes. most: notifications in one.
    repeat: seconds after which what still holds is sent again; 0: never.
    settle: seconds between the news that an incident opened and that it ended. Alertmanager waits
        for more of a kind before it notifies, and forgets what has ended meanwhile.
    """

    body: Callable[[Sequence[Notification], float], bytes]
    most: int = 1
    repeat: float = 0.0
    settle: float = 0.0


OF: dict[str, Format] = {
    WEBHOOK: Format(event),
    SLACK: Format(message, most=50),
    ALERTMANAGER: Format(alerts, most=100, repeat=60.0, settle=90.0),
}
