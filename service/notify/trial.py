"""Receiver -> Answer: one notification that says of itself that it is a test."""

from __future__ import annotations

import time
from uuid import uuid4

from vaewatch.service.notify import signature
from vaewatch.service.notify.notification import example
from vaewatch.service.notify.post import Answer, post
from vaewatch.service.notify.receiver import Receiver


def send_test(receiver: Receiver, link: str | None) -> Answer:
    """Send a test to a receiver.

    Raises:
        Unreachable: nothing was answered.
    """
    now, headers = time.time(), {}
    body = receiver.format.body([example(link, now)], now)
    if receiver.secrets:
        message = f"msg_test_{uuid4().hex[:12]}"
        headers = signature.headers(receiver.secrets, message, int(now), body)
    return post(receiver.address, body, headers)
