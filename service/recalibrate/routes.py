"""/v1/recalibrate: propose, look at, apply and revert a calibration on recent traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest

from vaewatch.service.http.asked import read_asked
from vaewatch.service.http.auth import Keys, Scope
from vaewatch.service.http.body import read_body
from vaewatch.service.http.exchange import REQUEST, Request
from vaewatch.service.http.openapi import reference, schemas_of
from vaewatch.service.http.responses import json_of
from vaewatch.service.recalibrate.body import ApplyRequest, RecalibrateRequest
from vaewatch.service.recalibrate.proposal import Proposal
from vaewatch.service.recalibrate.recalibrations import Recalibrations
from vaewatch.service.recalibrate.store import ID
from vaewatch.service.watch.logs import audit

PATH = "/v1/recalibrate"
Work = Callable[[bytes, Request], Awaitable[Proposal]]


class ProposalList(msgspec.Struct):
    """The last proposals, newest first, until the service stops."""

    proposals: list[Proposal]


def recalibrate_schemas() -> dict[str, Any]:
    """The schemas that the routes refer to."""
    return schemas_of(RecalibrateRequest, ApplyRequest, Proposal, ProposalList)


@dataclass(frozen=True)
class Changes:
    """Makes changes, and has each counted and logged with the key that asked for it, also if it
    is refused.
    """

    recalibrations: Recalibrations
    keys: Keys

    async def make(self, action: str, name: str, request: HttpRequest, change: Work) -> Response:
        """Make a change. `name`: the proposal's id, if it has one yet."""
        asked: Request = request.scope[REQUEST]
        self.keys.require(asked, Scope.ADMIN)
        result = "failed"
        try:
            done = await change(await read_body(asked), asked)
            name, result = done.id, _result_of(done)
        finally:
            self.recalibrations.metrics.count_recalibration(result)
            known = name if ID.fullmatch(name) else None  # anybody can make up paths
            version = self.recalibrations.registry.active.name.version
            audit(action, asked.key, asked.id, result, version, known)
        return json_of(done)


def _result_of(proposal: Proposal) -> str:
    forced = proposal.state == "applied" and proposal.forced
    return "forced" if forced else proposal.state


def add_recalibrate_routes(app: FastAPI, recalibrations: Recalibrations, keys: Keys) -> None:
    """Add the routes."""
    changes = Changes(recalibrations, keys)

    @app.get(
        PATH, tags=["model"], summary="The last proposals", openapi_extra=_answer("ProposalList")
    )
    async def listed() -> Response:
        return json_of(ProposalList(recalibrations.listed()))

    @app.post(
        PATH,
        tags=["model"],
        summary="Propose a calibration on recent records; nothing changes yet",
        openapi_extra=_answer("Proposal", body="RecalibrateRequest"),
    )
    async def propose(request: HttpRequest) -> Response:
        async def change(body: bytes, asked: Request) -> Proposal:
            return await recalibrations.propose(read_asked(body, RecalibrateRequest), asked.key)

        return await changes.make("recalibrate", "", request, change)

    @app.post(
        f"{PATH}/{{id}}/apply",
        tags=["model"],
        summary="Put a proposal in place, in every worker",
        openapi_extra=_answer("Proposal", body="ApplyRequest"),
    )
    async def apply(id: str, request: HttpRequest) -> Response:
        async def change(body: bytes, asked: Request) -> Proposal:
            return await recalibrations.apply(id, force=read_asked(body, ApplyRequest).force)

        return await changes.make("recalibrate.apply", id, request, change)

    @app.post(
        f"{PATH}/{{id}}/revert",
        tags=["model"],
        summary="Put back what a proposal has replaced",
        openapi_extra=_answer("Proposal"),
    )
    async def revert(id: str, request: HttpRequest) -> Response:
        async def change(body: bytes, asked: Request) -> Proposal:
            return await recalibrations.revert(id)

        return await changes.make("recalibrate.revert", id, request, change)


def _answer(schema: str, body: str | None = None) -> dict[str, Any]:
    """The parts of an operation that the framework does not see."""
    ok = {"description": "Done.", "content": {"application/json": {"schema": reference(schema)}}}
    found: dict[str, Any] = {"responses": {"200": ok}}
    if body is not None:
        content = {"application/json": {"schema": reference(body)}}
        found["requestBody"] = {"required": False, "content": content}
    return found
