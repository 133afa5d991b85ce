"""A notification -> the body of a webhook: its JSON, one a request."""

from __future__ import annotations

from collections.abc import Sequence

from vaewatch.service.notify.notification import Notification


def event(notifications: Sequence[Notification], seconds: float) -> bytes:
    """Return the body of one request; it is the same in each attempt."""
    (notification,) = notifications
    return notification.encoded()
