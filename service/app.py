"""Service -> ASGI application: FastAPI's routes behind the edge."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from vaewatch.service.console.routes import add_home
from vaewatch.service.http.edge import Edge
from vaewatch.service.http.problems import Malformed, MethodNotAllowed, NotFound, NotReady, Refusal
from vaewatch.service.http.tracing import traced
from vaewatch.service.model.lifecycle import Lifecycle
from vaewatch.service.parts import Service
from vaewatch.service.score.openapi import add_hot_routes, problem_responses
from vaewatch.service.settings import Settings
from vaewatch.service.v2.routes import add_v2_routes
from vaewatch.service.watch.gauges import Present
from vaewatch.service.watch.metrics import CONTENT_TYPE, build_version

TEXT = "Anomaly detection for tabular records with an alarm budget that holds."


@dataclass(frozen=True)
class Application:
    """One process's application, with its artifact loaded and verified."""

    service: Service
    edge: Edge
    asgi: ASGIApp

    @classmethod
    def of(cls, settings: Settings) -> Application:
        service = Service.of(settings)
        lifecycle = Lifecycle(service)
        lifecycle.start()
        api = _Api(
            title="vaewatch",
            version=build_version(),
            description=TEXT,
            responses=problem_responses(),
            lifespan=_lifespan(service, lifecycle),
        )
        edge = Edge(api, service)
        _add_errors(api, edge)
        add_home(api, service)
        _add_routes(api, service)
        _add_changes(api, service, lifecycle)
        add_v2_routes(api, service)
        return cls(service, edge, traced(edge) if settings.otel else edge)


def _lifespan(
    service: Service, lifecycle: Lifecycle
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        lifecycle.listen()
        yield
        lifecycle.stop()
        service.access_log.flush()
        service.engine.close()

    return lifespan


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

    @app.get("/metrics", tags=["probes"], summary="Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        service.monitor.flush()
        window = service.monitor.window(registry.active) if registry.model else None
        page = service.metrics.page(Present(registry, window))
        return Response(page, headers={"content-type": CONTENT_TYPE})


def _add_changes(app: FastAPI, service: Service, lifecycle: Lifecycle) -> None:
    @app.post("/v1/reload", tags=["model"], summary="Load what is at the artifact's path now")
    async def reload() -> dict[str, str]:
        result = await lifecycle.reload()
        lifecycle.tell_others(signal.SIGHUP)
        return {"result": result, "version": service.registry.active.name.version}

    @app.post("/v1/promote", tags=["model"], summary="Make the shadow the model that answers")
    async def promote() -> dict[str, str]:
        version = await lifecycle.promote()
        lifecycle.tell_others(signal.SIGUSR1)
        return {"result": "promoted", "version": version}


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
