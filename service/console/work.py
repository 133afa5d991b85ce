"""What a person works with: an incident with all that helps to judge it, and what has changed
beside it. Marks go to /v1/feedback and /v1/patterns, as those of programs do.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from fastapi import FastAPI, Response
from sqlalchemy import Connection

from vaewatch.service.console.changes import ChangeList, changes_of
from vaewatch.service.console.similar import Similar, similar_to
from vaewatch.service.http.problems import NotFound
from vaewatch.service.http.responses import json_of
from vaewatch.service.incidents import listing, patterns
from vaewatch.service.incidents.listing import KeptIncident
from vaewatch.service.incidents.patterns import Pattern
from vaewatch.service.model.errors import StoreAway
from vaewatch.service.model.registry import Registry
from vaewatch.service.recalibrate.recalibrations import Recalibrations
from vaewatch.service.store.desk import Desk
from vaewatch.service.store.moments import now

GONE = "there is no incident of this id here. Those that ended long ago are forgotten."


class Opened(msgspec.Struct):
    """An incident as it is opened. pattern: that which silences it."""

    incident: KeptIncident
    pattern: Pattern | None
    similar: list[Similar]


@dataclass(frozen=True)
class Work:
    """Where incidents and changes are known."""

    desk: Desk
    registry: Registry
    recalibrations: Recalibrations

    async def changes(self) -> ChangeList:
        """Return what has changed lately; without patterns where the store is away."""
        try:
            found = await self.desk.read(lambda c: patterns.listed(c, now(), active=None))
        except StoreAway:
            found = None
        proposals = self.recalibrations.listed()
        return changes_of(self.registry.loads.listed(), proposals, found)


def add_work(app: FastAPI, work: Work) -> None:
    """Add the routes."""

    @app.get("/console/incidents/{id}", include_in_schema=False)
    async def opened(id: str) -> Response:
        return json_of(await work.desk.read(lambda connection: opened_of(connection, id)))

    @app.get("/console/changes", include_in_schema=False)
    async def changes() -> Response:
        return json_of(await work.changes())


def opened_of(connection: Connection, id: str) -> Opened:
    """Read an incident by an id that it has or had.

    Raises:
        NotFound: there is none.
    """
    moment = now()
    found = listing.find(connection, id, moment)
    if found is None:
        raise NotFound(GONE)
    pattern = None if found.muted is None else patterns.find(connection, found.muted, moment)
    return Opened(found, pattern, similar_to(connection, found, moment))
