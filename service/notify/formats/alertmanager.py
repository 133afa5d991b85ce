"""notifications -> alerts of Alertmanager's API v2.

An alert is known by its labels, so that these stay the same as long as an incident lasts. As
Prometheus does, the service sends an alert again and again while it holds, each time with an end
some minutes ahead: should nothing come any more, Alertmanager takes it for resolved.
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from vaewatch.service.notify import words
from vaewatch.service.notify.notification import ENDED, TEST, Notification, stamp

AHEAD = 300.0  # seconds that an alert holds without being sent again
NAME, TEST_NAME = "VaewatchIncidentOpen", "VaewatchTest"
SEVERITY = "page"  # by which deploy/prometheus/alertmanager.yml chooses who gets it


def alerts(notifications: Sequence[Notification], seconds: float) -> bytes:
    """Return the body of one POST at a Unix time."""
    return msgspec.json.encode([_alert(each, seconds) for each in notifications])


def _alert(notification: Notification, seconds: float) -> dict[str, Any]:
    data, report = notification.data, notification.data.incident
    end = notification.timestamp if notification.type == ENDED else stamp(seconds + AHEAD)
    alert: dict[str, Any] = {
        "labels": _labels(notification),
        "annotations": {
            "summary": words.title(notification),
            "description": words.sentence(report),
            "columns": words.columns(report),
        },
        "endsAt": end,
    }
    if isinstance(report.first, str) and _is_before(report.first, end):
        alert["startsAt"] = report.first
    if data.link is not None:
        alert["generatorURL"] = data.link
    return alert


def _is_before(start: str, end: str) -> bool:
    """Compare two times; the clock that records are stamped by may be ahead."""
    return datetime.fromisoformat(start) < datetime.fromisoformat(end)


def _labels(notification: Notification) -> dict[str, str]:
    data = notification.data
    group = data.incident.group
    named = {group.kind.value: group.name} if group.name else {}
    return {
        **named,
        "alertname": TEST_NAME if notification.type == TEST else NAME,
        "incident": data.id,
        "model": data.model.name,
        "severity": SEVERITY,
    }
