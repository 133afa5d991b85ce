"""GET / and what the console asks for: its page, its overview, its trials.

The routes under /console are for this page alone, so they stay out of the OpenAPI document. The
page itself holds no data and loads without a key; its data are behind the key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest

from vaewatch.scoring.artifact import REPORT
from vaewatch.scoring.disk.reading import read_verified
from vaewatch.service.console.overview import Sources, overview_of
from vaewatch.service.console.trial import Trials
from vaewatch.service.console.work import Work, add_work
from vaewatch.service.http.auth import Scope
from vaewatch.service.http.exchange import REQUEST, Request
from vaewatch.service.http.pages import SCRIPTS, STYLES
from vaewatch.service.http.problems import NotFound
from vaewatch.service.http.responses import json_of, response_of
from vaewatch.service.model.registry import Registry

FOLDER = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# the training report is one file with its styles inside and no script
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
PAGE_HEADERS = {"content-security-policy": POLICY, "vary": "accept"}
POINTERS = {"docs": "/docs", "model": "/v1/model", "metrics": "/metrics"}


@dataclass(frozen=True)
class Console:
    """The console of one process: what it shows, where it tries records, and where people work."""

    sources: Sources
    trials: Trials
    work: Work


def add_home(app: FastAPI, console: Console | None) -> None:
    """Add the console, unless there is none, and pointers for clients that read JSON."""
    page = None if console is None else (FOLDER / "console.html").read_bytes()

    @app.get("/", include_in_schema=False)
    async def home(request: HttpRequest) -> Response:
        if page is not None and "text/html" in request.headers.get("accept", ""):
            return Response(page, media_type="text/html", headers=PAGE_HEADERS)
        pointers = msgspec.json.encode(POINTERS)
        return Response(pointers, media_type="application/json", headers={"vary": "accept"})

    if console is not None:
        _add_files(app)
        _add_data(app, console.sources)
        _add_trials(app, console.trials)
        add_work(app, console.work)


def _add_files(app: FastAPI) -> None:
    def add(name: str, kind: str) -> None:
        content = (FOLDER / name).read_bytes()

        @app.get(f"/console/{name}", include_in_schema=False)
        async def file() -> Response:
            return Response(content, media_type=kind)

    for name in STYLES:
        add(name, "text/css")
    for name in SCRIPTS:
        add(name, "text/javascript")


def _add_data(app: FastAPI, sources: Sources) -> None:
    @app.get("/console/state", include_in_schema=False)
    async def state(request: HttpRequest) -> Response:
        may_mark = sources.keys.scope_of(request.scope[REQUEST]) >= Scope.FEEDBACK
        return json_of(overview_of(sources, may_mark=may_mark))

    @app.get("/console/report", include_in_schema=False)
    async def report() -> Response:
        content = await asyncio.to_thread(report_of, sources.registry)
        headers = {"content-security-policy": REPORT_POLICY}
        return Response(content, media_type="text/html", headers=headers)


def report_of(registry: Registry) -> bytes:
    """Read the report that belongs to the model that answers, not one put there since.

    Raises:
        NotFound: the artifact has no report.
        ArtifactError: the file is another one than the artifact's.
    """
    model = registry.active
    digest = model.scorer.artifact.manifest.sha256.get(REPORT)
    if digest is None:
        raise NotFound("the artifact that answers has no training report; it was left out.")
    return read_verified(model.path.resolve(), REPORT, digest)


def _add_trials(app: FastAPI, trials: Trials) -> None:
    @app.post("/console/score", include_in_schema=False)
    async def trial(request: HttpRequest) -> Response:
        asked: Request = request.scope[REQUEST]
        with asked.place:  # left before the answer is sent
            reply = await trials.answer(asked)
        return response_of(reply)
