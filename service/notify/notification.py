"""IncidentReport -> Notification: what receivers are sent. It has no value of a record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct, structs

from vaewatch.scoring.incidents.described import (
    ColumnShare,
    Example,
    GroupName,
    IncidentReport,
    MainReason,
)
from vaewatch.scoring.incidents.rule import Kind

OPENED, WORSENED, ENDED, TEST = (
    "incident.opened",
    "incident.worsened",
    "incident.ended",
    "incident.test",
)
MOST_COLUMNS = 10


class ModelName(Struct, frozen=True):
    """The model whose verdicts the alarms are."""

    name: str
    version: str


class Data(Struct, frozen=True):
    """What a notification is about.

    id: of the incident when it was opened; all notifications of one incident have the same.
    link: to its page in the console, where the service was given its own address.
    merged_into: the id of another incident of which this one is a part now.
    """

    id: str
    model: ModelName
    incident: IncidentReport
    link: str | None = None
    merged_into: str | None = None


class Notification(Struct, frozen=True):
    """One notification, in the members that Standard Webhooks recommends.

    type: one of the four above. timestamp: when it was made, which is not when it is sent.
    """

    type: str
    timestamp: str
    data: Data

    def encoded(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decoded(cls, content: bytes) -> Notification:
        return msgspec.json.decode(content, type=cls)


def stamp(seconds: float) -> str:
    """Spell a Unix time as RFC 3339 in UTC."""
    spelt = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return spelt.replace("+00:00", "Z")


def sendable(report: IncidentReport, *, records: bool) -> IncidentReport:
    """Leave out what receivers need not have. records: whether they may have ids of records."""
    examples = report.examples
    if not records:
        examples = tuple(structs.replace(example, record=None) for example in examples)
    return structs.replace(report, examples=examples, columns=report.columns[:MOST_COLUMNS])


def example(link: str | None, seconds: float) -> Notification:
    """Return what a receiver is sent to see whether anything arrives."""
    now = stamp(seconds)
    reasons: Sequence[MainReason] = (MainReason("amount", "above"),)
    report = IncidentReport(
        id="0" * 12,
        group=GroupName(Kind.SEGMENT, "example"),
        first=now,
        last=now,
        ongoing=True,
        records=100,
        alarms=12,
        expected=1.0,
        chance=1e-6,
        peak_severity=3.5,
        columns=(ColumnShare("amount", 1.0, 1.0, 0.0),),
        examples=(Example(now, None, 3.5, 10**-3.5, tuple(reasons)),),
    )
    return Notification(TEST, now, Data(report.id, ModelName("example", "0"), report, link))
