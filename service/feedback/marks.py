"""feedback -> marks of the store: each is kept once, whatever is sent again.

What is said of an incident last is its label. Saying `expected` makes a pattern, and saying
something else of the same incident later ends it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Connection, or_, select, update

from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.service.http.problems import Malformed, NotFound
from vaewatch.service.incidents import patterns
from vaewatch.service.incidents.listing import NOTHING, row_of
from vaewatch.service.incidents.mark import Mark, mark_of
from vaewatch.service.incidents.patterns import Author, silence_of
from vaewatch.service.incidents.rows import report_in
from vaewatch.service.model.errors import Conflict
from vaewatch.service.store.moments import moment_text
from vaewatch.service.store.tables import ids, incidents, marks
from vaewatch.service.store.upsert import insert_new

SAME = ("label", "incident", "record", "reason", "until")  # what makes a repeated one the same


@dataclass(frozen=True)
class Said:
    """What a person says. until: the end of what is expected."""

    label: Label
    incident: str | None = None
    record: str | None = None
    reason: str = ""
    until: int | None = None
    id: str | None = None

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            Malformed: it cannot.
        """
        if self.incident is None and self.record is None:
            raise Malformed("feedback must name an incident or a record.")
        if self.label == Label.EXPECTED and (self.incident is None or self.until is None):
            raise Malformed("'expected' must name an incident, and its end with 'until'.")
        if self.label != Label.EXPECTED and self.until is not None:
            raise Malformed("'until' must go with the label 'expected'.")


class MarkPage(Struct):
    """Marks in the order in which they came, and where the next ones begin."""

    marks: list[Mark]
    next: str | None


@dataclass(frozen=True)
class Kept:
    """A mark of the store. new: whether it was not there before."""

    mark: Mark
    new: bool

    @property
    def id(self) -> str:
        return self.mark.id


def keep(connection: Connection, said: Said, author: Author) -> Kept:
    """Keep what a person says; said again with the same id, it is there already.

    Raises:
        Malformed: it cannot be meant.
        NotFound: there is no such incident.
        Conflict: the id is that of something else.
    """
    said.check()
    if said.id is not None and (before := _find(connection, said.id)) is not None:
        return _again(before, said)
    row = None if said.incident is None else row_of(connection, said.incident)
    if said.incident is not None and row is None:
        raise NotFound(NOTHING)
    values: dict[str, Any] = {
        "id": said.id or secrets.token_hex(8),
        "at": author.at,
        "by": author.by,
        "label": said.label,
        "incident": said.incident,
        "record": said.record,
        "reason": said.reason,
        "until": said.until,
    }
    if row is not None:
        report = report_in(row)
        values |= {
            "name": row.name,
            "first": row.first,
            "last": row.last,
            "columns": json.dumps([column.name for column in report.columns]),
            "kind": row.kind or report.group.kind.value,
        }
        _end_patterns(connection, row.key, author)
        if said.label == Label.EXPECTED:
            assert said.until is not None
            silence = silence_of(report, row.first, said.until)
            values["pattern"] = patterns.make(connection, silence, author, row.id)
    if not insert_new(connection, marks, values):
        raise Conflict("the same feedback is being kept by another request. Try again.")
    if row is not None:
        label = None if said.label == Label.WITHDRAWN else said.label
        now = update(incidents).where(incidents.c.key == row.key)
        connection.execute(now.values(label=label))
    found = _find(connection, values["id"])
    assert found is not None
    return Kept(mark_of(found), True)


def _end_patterns(connection: Connection, key: int, author: Author) -> None:
    """End the patterns that were made of an incident: something else is said of it now."""
    query = (
        select(marks.c.pattern)
        .join(ids, ids.c.id == marks.c.incident)
        .where(ids.c.incident == key, marks.c.pattern.is_not(None))
    )
    for name in connection.execute(query).scalars().all():
        patterns.end(connection, name, author)


def _find(connection: Connection, id: str) -> Any:
    return connection.execute(select(marks).where(marks.c.id == id)).first()


def _again(row: Any, said: Said) -> Kept:
    if any(getattr(row, name) != getattr(said, name) for name in SAME):
        raise Conflict("the id must be a new one: it is that of other feedback.")
    return Kept(mark_of(row), False)


@dataclass(frozen=True)
class Asked:
    """Which marks are asked for. after: the number of the last one of the page before."""

    since: int | None = None
    label: str | None = None
    incident: str | None = None
    after: int = 0
    limit: int = 100


def page_of(connection: Connection, asked: Asked) -> MarkPage:
    """Return a page of marks, the oldest first."""
    query = select(marks).where(marks.c.number > asked.after)
    if asked.since is not None:
        query = query.where(marks.c.at >= asked.since)
    if asked.label is not None:
        query = query.where(marks.c.label == asked.label)
    if asked.incident is not None:
        others = select(ids.c.incident).where(ids.c.id == asked.incident).scalar_subquery()
        names = select(ids.c.id).where(ids.c.incident == others)
        query = query.where(or_(marks.c.incident.in_(names), marks.c.incident == asked.incident))
    rows = list(connection.execute(query.order_by(marks.c.number).limit(asked.limit + 1)))
    more, rows = len(rows) > asked.limit, rows[: asked.limit]
    return MarkPage([mark_of(row) for row in rows], str(rows[-1].number) if more else None)


def current(connection: Connection) -> Iterator[Mark]:
    """Return what counts: the last mark of each incident and of each record, unless it was
    withdrawn. First and last are those that the incident has now.
    """
    query = (
        select(
            marks,
            incidents.c.key,
            incidents.c.first.label("f"),
            incidents.c.last.label("l"),
            incidents.c.kind.label("k"),
            incidents.c.report,
        )
        .outerjoin(ids, ids.c.id == marks.c.incident)
        .outerjoin(incidents, incidents.c.key == ids.c.incident)
        .order_by(marks.c.number)
    )
    last: dict[Any, Any] = {}
    for row in connection.execute(query):
        what = row.key or row.incident, row.record
        last.pop(what, None)
        last[what] = row
    return (_as_now(row) for row in last.values() if row.label != Label.WITHDRAWN)


def _as_now(row: Any) -> Mark:
    mark = mark_of(row)
    if row.key is None:
        return mark
    kind = mark.kind or GroupKind(row.k or report_in(row).group.kind.value)
    return structs.replace(mark, first=moment_text(row.f), last=moment_text(row.l), kind=kind)


def every(connection: Connection) -> Iterable[Mark]:
    """Return all marks, the oldest first."""
    return (mark_of(row) for row in connection.execute(select(marks).order_by(marks.c.number)))
