"""/v1/incidents: what alarms have become, and what people said of it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from sqlalchemy import Connection

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.service.http.asked import one_of, share, whole, yes_or_no
from vaewatch.service.http.openapi import answered, schemas_of
from vaewatch.service.http.problems import NotFound
from vaewatch.service.http.responses import json_of
from vaewatch.service.incidents import listing
from vaewatch.service.incidents.listing import KeptIncident, Page, Query
from vaewatch.service.store.desk import Desk
from vaewatch.service.store.moments import moment_of, now

PATH = "/v1/incidents"
CLAIMS = (*(label for label in Label if label is not Label.WITHDRAWN), listing.UNLABELLED)


def incident_schemas() -> dict[str, Any]:
    """The schemas that the routes refer to."""
    return schemas_of(Page, KeptIncident)


def add_incident_routes(app: FastAPI, desk: Desk) -> None:
    """Add the routes."""

    @app.get(
        PATH,
        tags=["incidents"],
        summary="Incidents, newest first; next is the cursor of the page after",
        openapi_extra=answered("Page"),
    )
    async def listed(
        since: str | None = None,
        until: str | None = None,
        state: str | None = None,
        group: str | None = None,
        column: str | None = None,
        label: str | None = None,
        muted: str | None = None,
        chance: str | None = None,
        cursor: str | None = None,
        limit: str | None = None,
    ) -> Response:
        query = Query(
            since=None if since is None else moment_of(since, "since"),
            until=None if until is None else moment_of(until, "until"),
            state=one_of(state, listing.STATES, "state"),
            group=group,
            column=column,
            label=one_of(label, CLAIMS, "label"),
            muted=yes_or_no(muted, "muted"),
            chance=share(chance, "chance"),
            cursor=None if cursor is None else listing.cursor_of(cursor),
            limit=whole(limit, "limit", least=1, most=listing.MOST, usual=listing.USUAL),
        )
        return json_of(await desk.read(lambda c: listing.page_of(c, query, now())))

    @app.get(
        f"{PATH}/{{id}}",
        tags=["incidents"],
        summary="One incident, also by an id that it had before",
        openapi_extra=answered("KeptIncident"),
    )
    async def one(id: str) -> Response:
        def read(connection: Connection) -> KeptIncident:
            found = listing.find(connection, id, now())
            if found is None:
                raise NotFound(listing.NOTHING)
            return found

        return json_of(await desk.read(read))
