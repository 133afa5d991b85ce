"""notifications -> a message of Slack's incoming webhooks, in blocks.

https://docs.slack.dev/reference/block-kit/blocks gives the limits: a header of 150 characters, ten
fields of 2,000, a text of 3,000. Several notifications that wait become one message, as Slack
takes about one a second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from vaewatch.service.notify import words
from vaewatch.service.notify.notification import Notification

MOST_HEADER, MOST_FIELD, MOST_TEXT = 150, 2000, 3000
MOST_LINES = 10  # of a message about several incidents
MOST_LINE = 280  # characters


def message(notifications: Sequence[Notification], seconds: float) -> bytes:
    """Return the body of one message."""
    blocks = _one(notifications[0]) if len(notifications) == 1 else _several(notifications)
    return msgspec.json.encode({"text": _fallback(notifications), "blocks": blocks})


def _one(notification: Notification) -> list[dict[str, Any]]:
    data, report = notification.data, notification.data.incident
    fields = {
        "Alarms": words.alarms(report),
        "As strong among incidents by chance": words.chance(report),
        "Main columns": words.columns(report),
        "First and last alarm": f"{report.first} to {report.last}",
    }
    about = [f"model {_escaped(words.cut(data.model.name))} {_escaped(data.model.version)}"]
    return [
        _header(words.title(notification)),
        {
            "type": "section",
            "fields": [
                _marked(f"*{name}*\n{_escaped(text)}", MOST_FIELD) for name, text in fields.items()
            ],
        },
        {
            "type": "context",
            "elements": [_marked(" · ".join([_name(notification), *about]), MOST_TEXT)],
        },
    ]


def _several(notifications: Sequence[Notification]) -> list[dict[str, Any]]:
    shown = [_line(each) for each in notifications[:MOST_LINES]]
    more = len(notifications) - MOST_LINES
    if more > 0:
        shown.append(f"and {more} more")
    return [
        _header(_counted(notifications)),
        {"type": "section", "text": _marked("\n".join(shown), MOST_TEXT)},
    ]


def _counted(notifications: Sequence[Notification]) -> str:
    counts = Counter(words.VERBS[each.type] for each in notifications)
    return "Incidents: " + ", ".join(f"{n:,} {verb}" for verb, n in counts.items())


def _line(notification: Notification) -> str:
    report = notification.data.incident
    text = f"{words.title(notification)}: {words.columns(report)}, {report.alarms:,} alarms"
    return f"{_escaped(words.cut(text, MOST_LINE // 2))} ({_name(notification)})"


def _name(notification: Notification) -> str:
    """Name an incident, with a link to its page if there is one."""
    data = notification.data
    if data.link is None or len(data.link) > MOST_LINE // 2:
        return f"`{data.id}`"
    return f"<{_escaped(data.link)}|{data.id}>"


def _fallback(notifications: Sequence[Notification]) -> str:
    """Return the text of a notification on a phone, where no blocks are shown."""
    if len(notifications) > 1:
        return _counted(notifications)
    report = notifications[0].data.incident
    return _escaped(f"{words.title(notifications[0])}: {words.sentence(report)}")


def _header(text: str) -> dict[str, Any]:
    shown = {"type": "plain_text", "text": words.cut(text, MOST_HEADER), "emoji": False}
    return {"type": "header", "text": shown}


def _marked(text: str, most: int) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text[:most], "verbatim": True}


def _escaped(text: str) -> str:
    """Keep names from being markup: `<!channel>` would wake everyone."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
