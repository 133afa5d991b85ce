"""GET / and what the console asks for: its page, its state, its trials.

The routes under /console are for this page alone, so they stay out of the OpenAPI document. The
page holds nothing of the service and loads without a key; what it shows is behind the key.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest

from vaewatch.scoring.artifact import REPORT, read_verified
from vaewatch.service.console.state import state_of
from vaewatch.service.console.trial import for_trials, try_records
from vaewatch.service.http.exchange import Request
from vaewatch.service.http.limits import Disconnected
from vaewatch.service.http.problems import NotFound
from vaewatch.service.model.model import Model
from vaewatch.service.parts import Service

FOLDER = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# the training report is one file with its styles inside; it has no script
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
PAGE_HEADERS = {"content-security-policy": POLICY, "vary": "accept"}
POINTERS = {"docs": "/docs", "model": "/v1/model", "metrics": "/metrics"}


def add_home(app: FastAPI, service: Service) -> None:
    """The console where it is wanted, and pointers for clients that read JSON."""
    page = (FOLDER / "console.html").read_bytes() if service.settings.console else None

    @app.get("/", include_in_schema=False)
    async def home(request: HttpRequest) -> Response:
        if page is not None and "text/html" in request.headers.get("accept", ""):
            return Response(page, media_type="text/html", headers=PAGE_HEADERS)
        pointers = msgspec.json.encode(POINTERS)
        return Response(pointers, media_type="application/json", headers={"vary": "accept"})

    if page is not None:
        _add_files(app)
        _add_data(app, service)
        _add_trials(app, service)


def _add_files(app: FastAPI) -> None:
    style, script = ((FOLDER / name).read_bytes() for name in ("console.css", "console.js"))

    @app.get("/console/console.css", include_in_schema=False)
    async def css() -> Response:
        return Response(style, media_type="text/css")

    @app.get("/console/console.js", include_in_schema=False)
    async def js() -> Response:
        return Response(script, media_type="text/javascript")


def _add_data(app: FastAPI, service: Service) -> None:
    @app.get("/console/state", include_in_schema=False)
    async def state() -> Response:
        return Response(msgspec.json.encode(state_of(service)), media_type="application/json")

    @app.get("/console/report", include_in_schema=False)
    async def report() -> Response:
        content = await asyncio.to_thread(report_of, service.registry.active)
        headers = {"content-security-policy": REPORT_POLICY}
        return Response(content, media_type="text/html", headers=headers)


def report_of(model: Model) -> bytes:
    """The report that came with the model that answers, not one that lies there since."""
    digest = model.scorer.artifact.manifest.sha256.get(REPORT)
    if digest is None:
        raise NotFound("the artifact that answers has no training report; it was left out.")
    return read_verified(model.path.resolve(), REPORT, digest)


def _add_trials(app: FastAPI, service: Service) -> None:
    trials = for_trials(service)

    @app.post("/console/score", include_in_schema=False)
    async def trial(request: HttpRequest) -> Response:
        asked: Request = request.scope["vaewatch.request"]
        try:
            reply = await try_records(trials, asked)
        except Disconnected:
            return Response(status_code=499)  # nobody hears it; the log and the metrics do
        headers = {key.decode(): value.decode() for key, value in reply.headers}
        return Response(reply.body, reply.status, headers)
