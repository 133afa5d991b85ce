"""Service -> ASGI application: FastAPI's routes behind the edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from service.documents import add_hot_routes
from service.edge import Edge
from service.metrics import CONTENT_TYPE, build_version
from service.monitor import Present
from service.problems import Malformed, MethodNotAllowed, NotFound, NotReady, Refusal
from service.registry import load_model
from service.scoring_route import score
from service.settings import Settings
from service.state import Service

HOT = {("POST", "/v1/score"): score}
TEXT = "Anomaly detection for tabular records with an alarm budget that holds."


def create_app(settings: Settings) -> ASGIApp:
    """The application of one process, with its artifact loaded and verified."""
    service = Service.of(settings)
    service.registry.model = load_model(settings.artifact, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.engine.close()

    app = _Api(title="vaewatch", version=build_version(), description=TEXT, lifespan=lifespan)
    edge = Edge(app, service, HOT)
    _add_errors(app, edge)
    _add_routes(app, service)
    return edge


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            self.openapi_schema = add_hot_routes(document)
        return self.openapi_schema


def _add_routes(app: FastAPI, service: Service) -> None:
    registry = service.registry

    @app.get("/", include_in_schema=False)
    async def home() -> dict[str, str]:
        return {"docs": "/docs", "model": "/v1/model", "metrics": "/metrics"}

    @app.get("/v1/model", tags=["model"], summary="The card of the model that answers")
    async def model() -> Response:
        card = msgspec.json.encode(registry.active.card)
        return Response(card, media_type="application/json")

    @app.get("/livez", tags=["probes"], summary="The process runs")
    async def livez() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz", tags=["probes"], summary="A verified model answers")
    async def readyz() -> dict[str, str]:
        if not registry.ready:
            raise NotReady("the service is starting or stopping.")
        return {"status": "ready", "version": registry.active.name.version}

    @app.get("/metrics", tags=["probes"], summary="Prometheus text format")
    async def metrics() -> Response:
        service.monitor.flush()
        page = service.metrics.page(Present(registry))
        return Response(page, headers={"content-type": CONTENT_TYPE})


def _add_errors(app: FastAPI, edge: Edge) -> None:
    """Whatever FastAPI refuses is told like everything else."""

    async def tell(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = _as_refusal(error)
        elif isinstance(error, RequestValidationError):
            error = Malformed("the query or the body is not what /openapi.json says.")
        reply = edge.problem(error, request.scope["vaewatch.request"])
        headers = {key.decode(): value.decode() for key, value in reply.headers}
        return Response(reply.body, reply.status, headers)

    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, tell)


def _as_refusal(error: HTTPException) -> Refusal:
    if error.status_code == 405:
        return MethodNotAllowed("the route takes another method; /docs names it.")
    return NotFound("there is no such route; /docs lists them.")
