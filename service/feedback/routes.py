"""/v1/feedback and /v1/patterns: what people say of incidents, and expect for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from sqlalchemy import Connection

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.service.feedback import marks
from vaewatch.service.feedback.body import FeedbackRequest, PatternRequest
from vaewatch.service.feedback.marks import Asked, Kept, MarkPage
from vaewatch.service.http.asked import one_of, read_asked, whole
from vaewatch.service.http.auth import Keys, Scope
from vaewatch.service.http.body import read_body
from vaewatch.service.http.exchange import REQUEST, Request
from vaewatch.service.http.openapi import answered, schemas_of
from vaewatch.service.http.responses import json_of
from vaewatch.service.incidents import patterns
from vaewatch.service.incidents.mark import Mark
from vaewatch.service.incidents.patterns import Author, Pattern
from vaewatch.service.incidents.precision import Summary, summary_of
from vaewatch.service.incidents.rows import stored_name
from vaewatch.service.model.registry import Registry
from vaewatch.service.store.desk import Desk
from vaewatch.service.store.moments import DAY, moment_of, now
from vaewatch.service.watch.families.incidents import IncidentSeries
from vaewatch.service.watch.logs import audit

FEEDBACK, PATTERNS = "/v1/feedback", "/v1/patterns"
LOOKED_BACK = 90 * DAY
T = TypeVar("T", Kept, Pattern)


class PatternList(msgspec.Struct):
    """Patterns, the newest first."""

    patterns: list[Pattern]


def feedback_schemas() -> dict[str, Any]:
    """The schemas that the routes refer to."""
    bodies = FeedbackRequest, PatternRequest
    return schemas_of(*bodies, Mark, MarkPage, Pattern, PatternList, Summary)


@dataclass(frozen=True)
class Changes:
    """Makes changes that need the scope `feedback`. Each is logged with the key that asked for it,
    also if it is refused.
    """

    desk: Desk
    keys: Keys
    registry: Registry

    async def make(
        self, action: str, request: HttpRequest, change: Callable[[Connection, bytes, Author], T]
    ) -> T:
        """Make a change; returns when it is committed."""
        asked: Request = request.scope[REQUEST]
        self.keys.require(asked, Scope.FEEDBACK)
        result, subject = "refused", None
        try:
            body = await read_body(asked)
            author = Author(now(), asked.key)
            done = await self.desk.write(lambda connection: change(connection, body, author))
            result, subject = "kept", done.id
        finally:
            version = self.registry.active.name.version
            audit(action, asked.key, asked.id, result, version, subject=subject)
        return done


def add_feedback_routes(
    app: FastAPI, desk: Desk, keys: Keys, registry: Registry, series: IncidentSeries
) -> None:
    """Add the routes."""
    changes = Changes(desk, keys, registry)

    @app.get(
        FEEDBACK,
        tags=["incidents"],
        summary="Feedback in the order in which it came",
        openapi_extra=answered("MarkPage"),
    )
    async def listed(
        since: str | None = None,
        label: str | None = None,
        incident: str | None = None,
        cursor: str | None = None,
        limit: str | None = None,
    ) -> Response:
        asked = Asked(
            since=None if since is None else moment_of(since, "since"),
            label=one_of(label, tuple(Label), "label"),
            incident=None if incident is None else stored_name(incident),
            after=whole(cursor, "cursor", least=0, most=2**62, usual=0),
            limit=whole(limit, "limit", least=1, most=1_000, usual=100),
        )
        return json_of(await desk.read(lambda connection: marks.page_of(connection, asked)))

    @app.get(
        f"{FEEDBACK}/summary",
        tags=["incidents"],
        summary="How many incidents were confirmed: in all, by column, group and week",
        openapi_extra=answered("Summary"),
    )
    async def summary(since: str | None = None) -> Response:
        moment = now() - LOOKED_BACK if since is None else moment_of(since, "since")
        return json_of(await desk.read(lambda connection: summary_of(connection, moment)))

    @app.post(
        FEEDBACK,
        tags=["incidents"],
        summary="Say what an incident or a record was; answered once it is kept",
        openapi_extra=answered("Mark", body="FeedbackRequest"),
    )
    async def say(request: HttpRequest) -> Response:
        def change(connection: Connection, body: bytes, author: Author) -> Kept:
            given = read_asked(body, FeedbackRequest)
            return marks.keep(connection, given.said(), _because(author, given.reason))

        kept = await changes.make("feedback", request, change)
        if kept.new:
            series.feedback.labels(kept.mark.label).inc()
        return json_of(kept.mark)

    _add_patterns(app, changes)


def _add_patterns(app: FastAPI, changes: Changes) -> None:
    @app.get(
        PATTERNS,
        tags=["incidents"],
        summary="What is expected for a while, newest first",
        openapi_extra=answered("PatternList"),
    )
    async def listed(state: str | None = None) -> Response:
        wanted = one_of(state, ("active", "ended", "all"), "state")
        active = {None: True, "active": True, "ended": False, "all": None}[wanted]
        found = await changes.desk.read(lambda c: patterns.listed(c, now(), active=active))
        return json_of(PatternList(found))

    @app.post(
        PATTERNS,
        tags=["incidents"],
        summary="Expect such alarms for a while: nobody is told of their incidents",
        openapi_extra=answered("Pattern", body="PatternRequest"),
    )
    async def expect(request: HttpRequest) -> Response:
        def change(connection: Connection, body: bytes, author: Author) -> Pattern:
            given = read_asked(body, PatternRequest)
            silence, by = given.silence(author.at), _because(author, given.reason)
            silence.check(author.at)
            silence.check_against(changes.registry.active.scorer.artifact)
            return _known(connection, patterns.make(connection, silence, by))

        return json_of(await changes.make("pattern", request, change))

    @app.delete(
        f"{PATTERNS}/{{id}}",
        tags=["incidents"],
        summary="End a pattern now; it stays in the list of those that have ended",
        openapi_extra=answered("Pattern"),
    )
    async def end(id: str, request: HttpRequest) -> Response:
        def change(connection: Connection, body: bytes, author: Author) -> Pattern:
            patterns.end(connection, stored_name(id), author)
            return _known(connection, id)

        return json_of(await changes.make("pattern.end", request, change))


def _known(connection: Connection, id: str) -> Pattern:
    found = patterns.find(connection, id, now())
    assert found is not None
    return found


def _because(author: Author, reason: str) -> Author:
    return msgspec.structs.replace(author, reason=reason)
