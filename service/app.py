"""settings -> ASGI application: FastAPI's routes behind the edge, with every part put together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from vaewatch.service.console.overview import Sources
from vaewatch.service.console.routes import Console, add_home
from vaewatch.service.console.trial import Trials
from vaewatch.service.console.work import Work
from vaewatch.service.feedback.routes import add_feedback_routes, feedback_schemas
from vaewatch.service.http.body import Disconnected
from vaewatch.service.http.edge import GONE, Edge, problem
from vaewatch.service.http.exchange import REQUEST, HotRoute, HotRoutes, Request
from vaewatch.service.http.limits import Crowd
from vaewatch.service.http.openapi import problem_responses, problem_schemas
from vaewatch.service.http.problems import (
    Malformed,
    MethodNotAllowed,
    NotFound,
    Refusal,
    shown,
)
from vaewatch.service.http.responses import json_of, response_of
from vaewatch.service.http.tracing import traced
from vaewatch.service.incidents.routes import add_incident_routes, incident_schemas
from vaewatch.service.model.errors import HistoryAway, NotReady
from vaewatch.service.parts import Service
from vaewatch.service.recalibrate.routes import add_recalibrate_routes, recalibrate_schemas
from vaewatch.service.score.openapi import score_path, score_schemas
from vaewatch.service.score.route import SCORE, ScoreRoute
from vaewatch.service.score.scoring import Scoring
from vaewatch.service.series.choice import described
from vaewatch.service.settings import Settings
from vaewatch.service.v2.infer import InferRoute, infer_template
from vaewatch.service.v2.openapi import infer_paths, infer_schemas
from vaewatch.service.v2.routes import add_v2_routes
from vaewatch.service.watch.families.incidents import Stands
from vaewatch.service.watch.families.shown import PREFIX
from vaewatch.service.watch.gauges import Present
from vaewatch.service.watch.logs import audit
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
        service.lifecycle.start()
        service.histories.start(service.registry.active)
        service.incidents.start(service.registry.active)
        api = _Api(
            title="vaewatch",
            version=build_version(),
            description=TEXT,
            responses=problem_responses(),
            lifespan=_lifespan(service),
            redirect_slashes=False,  # a redirect would repeat the host that the request names
        )
        _add_errors(api)
        add_home(api, _console(service))
        _add_routes(api, service)
        _add_changes(api, service)
        add_recalibrate_routes(api, service.recalibrations, service.keys)
        add_incident_routes(api, service.desk)
        _add_feedback(api, service)
        add_v2_routes(api, service.registry)
        edge = _edge(api, service)
        return cls(service, edge, traced(edge) if settings.otel else edge)


def _edge(api: ASGIApp, service: Service) -> Edge:
    scoring = Scoring(service.registry, service.engine, service.monitor)
    return Edge(
        rest=api,
        hot=_hot_routes(ScoreRoute(scoring).hot(), InferRoute(scoring).hot()),
        keys=service.keys,
        limits=service.limits,
        crowd=Crowd(service.settings, service.metrics),
        registry=service.registry,
        metrics=service.metrics,
        access_log=service.access_log,
    )


def _hot_routes(score: HotRoute, infer: dict[str, HotRoute]) -> HotRoutes:
    def route_of(path: str) -> HotRoute | None:
        if path == SCORE:
            return score
        template = infer_template(path)
        return None if template is None else infer[template]

    return route_of


def _console(service: Service) -> Console | None:
    """The console, if the settings want it: only then is there something to remember."""
    recent = service.monitor.recent
    if recent is None:
        return None
    sources = Sources(
        settings=service.settings,
        registry=service.registry,
        metrics=service.metrics,
        monitor=service.monitor,
        recent=recent,
        keys=service.keys,
    )
    work = Work(service.desk, service.registry, service.recalibrations)
    return Console(sources, Trials.of(service.registry), work)


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.lifecycle.listen()
        service.notifier.start()
        tasks = [
            asyncio.ensure_future(work)
            for work in (
                service.monitor.keep_flushing(),
                service.histories.keep(),
                service.incidents.keep(),
            )
        ]
        yield
        for task in tasks:
            task.cancel()
        service.close()

    return lifespan


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """FastAPI's document, with the hot routes in it."""
        if not self.openapi_schema:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas.update(problem_schemas() | score_schemas() | infer_schemas())
            schemas.update(recalibrate_schemas() | incident_schemas() | feedback_schemas())
            document["paths"] = {SCORE: score_path(), **document["paths"], **infer_paths()}
            self.openapi_schema = document
        return self.openapi_schema


def _add_routes(app: FastAPI, service: Service) -> None:
    registry = service.registry

    @app.get("/v1/model", tags=["model"], summary="The card of the model that answers")
    async def model() -> Response:
        active = registry.active
        kept = {} if active.window is None else {"history": described(service.settings, active)}
        return json_of({**active.card, **kept})

    @app.get("/livez", tags=["probes"], summary="The process runs")
    async def livez() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/readyz", tags=["probes"], summary="A verified model answers")
    async def readyz() -> dict[str, str]:
        if registry.away:
            raise HistoryAway("the histories of entities are away.")
        if not registry.ready:
            raise NotReady("the service is starting or stopping.")
        return {"status": "ready", "version": registry.active.name.version}

    @app.get("/metrics", tags=["probes"], summary="Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        service.monitor.flush()
        window = service.monitor.window(registry.active) if registry.model else None
        stands = Stands(PREFIX, service.incidents.standing)
        page = service.metrics.page(Present(registry, window), stands)
        return Response(page, headers={"content-type": CONTENT_TYPE})


def _add_feedback(app: FastAPI, service: Service) -> None:
    series = service.metrics.incidents
    add_feedback_routes(app, service.desk, service.keys, service.registry, series)


def _add_changes(app: FastAPI, service: Service) -> None:
    lifecycle = service.lifecycle

    async def audited(
        action: str, request: HttpRequest, change: Callable[[], Awaitable[str]]
    ) -> dict[str, str]:
        """Make a change, and log which key has asked for it, also if it is refused."""
        asked: Request = request.scope[REQUEST]
        result = "refused"
        try:
            result = await change()
        finally:
            version = service.registry.active.name.version
            audit(action, asked.key, asked.id, result, version)
        return {"result": result, "version": version}

    @app.post("/v1/reload", tags=["model"], summary="Load the artifact that is at the path now")
    async def reload(request: HttpRequest) -> dict[str, str]:
        done = await audited("reload", request, lifecycle.reload)
        lifecycle.signal_parent(signal.SIGHUP)
        return done

    @app.post("/v1/promote", tags=["model"], summary="Make the shadow the model that answers")
    async def promote(request: HttpRequest) -> dict[str, str]:
        async def change() -> str:
            await lifecycle.promote()
            return "promoted"

        done = await audited("promote", request, change)
        lifecycle.signal_parent(signal.SIGUSR1)
        return done


def _add_errors(app: FastAPI) -> None:
    """Report FastAPI's own errors as problem details, too."""

    async def answer(request: HttpRequest, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = _as_refusal(error, request.method)
        elif isinstance(error, RequestValidationError):
            error = Malformed("the query or the body is not what /openapi.json says.")
        return response_of(problem(error, request.scope[REQUEST]))

    async def leave(request: HttpRequest, error: Exception) -> Response:
        return Response(status_code=GONE)

    app.add_exception_handler(Disconnected, leave)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)


def _as_refusal(error: HTTPException, method: str) -> Refusal:
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "GET")
        allow = "GET, HEAD" if "GET" in allow else allow
        return MethodNotAllowed(f"the method must be {allow} here, got {shown(method)}.", allow)
    return NotFound("there is no such route; /docs lists them.")
