"""patterns: what is expected for a while, and so opens no incident that anybody is told of."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from sqlalchemy import Connection, Select, func, or_, select, update
from sqlalchemy.engine import Row

from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.incidents.alarm import Alarm
from vaewatch.scoring.incidents.described import IncidentReport
from vaewatch.service.http.problems import Malformed, NotFound
from vaewatch.service.model.errors import Conflict
from vaewatch.service.store.moments import DAY, moment_text
from vaewatch.service.store.tables import incidents, patterns

MOST = 1_000  # active ones: each alarm is compared with all of them
LONGEST = 366 * DAY
LEAST_SHARE = 0.05  # of an incident's alarms, of a column that a pattern made of it names
SIDES = {1: "above", -1: "below", 0: None}

Direction = Literal["above", "below"]


class Silence(Struct, frozen=True):
    """Which alarms a pattern silences.

    columns: every main reason of an alarm must be one of these; any may be where there are none.
    direction: 1 or -1: no reason may point the other way.
    """

    columns: tuple[str, ...] = ()
    name: str | None = None
    direction: int = 0
    least: float | None = None
    most: float | None = None
    since: int = 0
    until: int = 0

    def covers(self, alarm: Alarm) -> bool:
        """Return whether an alarm is one that it silences."""
        return (
            self.since <= alarm.moment < self.until
            and self.name in (None, alarm.group)
            and (self.least is None or alarm.severity >= self.least)
            and (self.most is None or alarm.severity <= self.most)
            and all(cause.direction in (0, self.direction or cause.direction)
                    for cause in alarm.causes)
            and (not self.columns or self._has_all(alarm))
        )  # fmt: skip

    def _has_all(self, alarm: Alarm) -> bool:
        return bool(alarm.causes) and set(alarm.columns) <= set(self.columns)

    def check(self, now: int) -> None:
        """Refuse what would silence everything, or without an end.

        Raises:
            Malformed: it would.
        """
        if not self.columns and self.name is None:
            raise Malformed("a pattern must name columns or a group: it may not be everything.")
        if not now < self.until <= now + LONGEST:
            raise Malformed("'until' must be in the future, at most 366 days from now.")
        if self.since >= self.until:
            raise Malformed("'since' must be before 'until'.")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise Malformed("'severity_from' must not be above 'severity_to'.")

    def check_against(self, artifact: Artifact) -> None:
        """Refuse columns that the artifact does not have, which would silence nothing, and what
        covers each of its alarms.

        Raises:
            Malformed: it does.
        """
        names = artifact.schema.names
        other = next((name for name in self.columns if name not in names), None)
        if other is not None:
            known = ", ".join(names)
            raise Malformed(f"'columns' must be those of the model ({known}), got '{other}'.")
        highest = math.log10(artifact.calibration.n + 1)  # severity
        bounded = self.direction or self.least or (self.most is not None and self.most < highest)
        if self.name is None and set(names) <= set(self.columns) and not bounded:
            raise Malformed(
                "a pattern of all columns must have a group, a direction or a range of severity: "
                "it may not be everything."
            )


class Pattern(Struct):
    """Alarms that are expected for a while. They are scored, counted and shown all the same."""

    id: str
    at: Annotated[str, Meta(description="When it was made.")]
    by: Annotated[str | None, Meta(description="The name of the key that made it.")]
    reason: str
    columns: Annotated[
        tuple[str, ...], Meta(description="All main reasons must be among them; any if empty.")
    ]
    group: Annotated[str | None, Meta(description="Name of the entity or segment; null: any.")]
    direction: Annotated[Direction | None, Meta(description="No reason points the other way.")]
    severity_from: float | None
    severity_to: float | None
    since: str
    until: str
    ended: Annotated[str | None, Meta(description="When it was ended before its time.")]
    ended_by: str | None
    incident: Annotated[str | None, Meta(description="The incident that it was made of.")]
    active: bool
    incidents: Annotated[int, Meta(description="Incidents that it has silenced so far.")] = 0
    alarms: Annotated[int, Meta(description="Their alarms.")] = 0


class Author(Struct, frozen=True):
    """Who says something, when and why."""

    at: int
    by: str | None
    reason: str = ""


def silence_of(report: IncidentReport, since: int, until: int) -> Silence:
    """Return what silences alarms like those of an incident, in its group, no more severe."""
    shares = [c for c in report.columns if c.share >= LEAST_SHARE]
    above, below = any(c.above for c in shares), any(c.below for c in shares)
    return Silence(
        tuple(c.name for c in shares),
        report.group.name if report.group.kind != "all" else None,
        int(above and not below) - int(below and not above),
        None,
        report.peak_severity,
        since,
        until,
    )


def make(
    connection: Connection, silence: Silence, author: Author, incident: str | None = None
) -> str:
    """Keep a pattern; returns its id.

    Raises:
        Malformed: it would silence everything, or has no end.
        Conflict: there are too many.
    """
    silence.check(author.at)
    active = select(func.count()).select_from(patterns).where(*_active(author.at))
    if (connection.execute(active).scalar() or 0) >= MOST:
        raise Conflict(f"at most {MOST:,} patterns may be active. End some of them first.")
    name = secrets.token_hex(6)
    connection.execute(
        patterns.insert().values(
            id=name,
            at=author.at,
            by=author.by,
            reason=author.reason,
            columns=json.dumps(silence.columns),
            name=silence.name,
            direction=silence.direction,
            least=silence.least,
            most=silence.most,
            since=silence.since,
            until=silence.until,
            incident=incident,
        )
    )
    return name


def end(connection: Connection, name: str, author: Author) -> None:
    """End a pattern now; one that has ended stays as it is.

    Raises:
        NotFound: there is none of this id.
    """
    still = update(patterns).where(patterns.c.id == name, *_active(author.at))
    done = connection.execute(still.values(ended=author.at, ended_by=author.by))
    if not done.rowcount and find(connection, name, author.at) is None:
        raise NotFound("there is no pattern of this id; GET /v1/patterns lists those there are.")


def silences(connection: Connection, now: int) -> list[tuple[str, Silence]]:
    """Return the active patterns, by id, the oldest first."""
    query = select(patterns).where(*_active(now)).order_by(patterns.c.at, patterns.c.id)
    return [(row.id, _silence(row)) for row in connection.execute(query)]


def listed(connection: Connection, now: int, *, active: bool | None) -> list[Pattern]:
    """Return patterns, newest first; all of them where `active` is None."""
    query = _counted().order_by(patterns.c.at.desc(), patterns.c.id)
    if active is True:
        query = query.where(*_active(now))
    if active is False:
        query = query.where(or_(patterns.c.ended.is_not(None), patterns.c.until <= now))
    return [_pattern(row, now) for row in connection.execute(query.limit(MOST))]


def find(connection: Connection, name: str, now: int) -> Pattern | None:
    """Return a pattern by its id."""
    row = connection.execute(_counted().where(patterns.c.id == name)).first()
    return None if row is None else _pattern(row, now)


def _active(now: int) -> tuple[Any, ...]:
    return patterns.c.ended.is_(None), patterns.c.until > now


def _counted() -> Select[Any]:
    silenced = (
        select(
            incidents.c.pattern,
            func.count().label("n"),
            func.sum(incidents.c.alarms).label("alarms"),
        )
        .where(incidents.c.pattern != "")
        .group_by(incidents.c.pattern)
        .subquery()
    )
    return select(patterns, silenced.c.n, silenced.c.alarms).outerjoin(
        silenced, silenced.c.pattern == patterns.c.id
    )


def _silence(row: Row[Any]) -> Silence:
    columns = tuple(json.loads(row.columns))
    return Silence(columns, row.name, row.direction, row.least, row.most, row.since, row.until)


def _pattern(row: Row[Any], now: int) -> Pattern:
    side: Any = SIDES[row.direction]
    return Pattern(
        id=row.id,
        at=moment_text(row.at),
        by=row.by,
        reason=row.reason,
        columns=tuple(json.loads(row.columns)),
        group=row.name,
        direction=side,
        severity_from=row.least,
        severity_to=row.most,
        since=moment_text(row.since),
        until=moment_text(row.until),
        ended=None if row.ended is None else moment_text(row.ended),
        ended_by=row.ended_by,
        incident=row.incident,
        active=row.ended is None and row.until > now,
        incidents=row.n or 0,
        alarms=int(row.alarms or 0),
    )


def named(silence: Sequence[tuple[str, Silence]], alarm: Alarm) -> str:
    """Return the id of the first pattern that silences an alarm; empty if none does."""
    return next((name for name, each in silence if each.covers(alarm)), "")
