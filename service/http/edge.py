"""ASGI -> the hot routes, or the framework: ids, headers, errors, times, all in one place.

The routes that score bypass FastAPI's dependency machinery, which costs more than scoring a
record does; `vaewatch.service.score.openapi` puts them into the OpenAPI document.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import perf_counter

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vaewatch.scoring.structs import Rows
from vaewatch.service.http.exchange import (
    CLOSE,
    HOLD,
    SECURITY,
    WRITE,
    Headers,
    Reply,
    Request,
    id_header,
    send_reply,
)
from vaewatch.service.http.limits import Disconnected
from vaewatch.service.http.problems import (
    MethodNotAllowed,
    Overloaded,
    Unauthorized,
    details_of,
    headers_of,
)
from vaewatch.service.parts import Service
from vaewatch.service.score.answers import with_ids
from vaewatch.service.score.engine import Scored
from vaewatch.service.score.route import Asked, asked_of, plain_rows, score
from vaewatch.service.v2.routes import INFER, INFER_VERSION, infer, infer_template
from vaewatch.service.watch.metrics import BatchHistogram

log = logging.getLogger("vaewatch.service")

Route = Callable[[Service, Request], Awaitable[Reply]]
Write = Callable[[Request, Reply, Headers], bool]  # False where nobody is left to read it
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
GONE = 499  # the client left; only the metrics and the log hear of it


class Edge:
    """The outermost layer."""

    def __init__(self, rest: ASGIApp, service: Service) -> None:
        self.rest, self.service = rest, service
        self._series: dict[tuple[str, str, int], BatchHistogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
            return
        started = perf_counter()
        request = Request(scope, receive)
        self.service.metrics.busy += 1
        template, status = hot_template(request.path), GONE
        try:
            status = await self._answer(request, template, send)
        finally:
            self.service.metrics.busy -= 1
            # the route's template, never the path itself: anybody can make up paths
            matched = template or str(getattr(scope.get("route"), "path", "unmatched"))
            self._measure(request, matched, status, perf_counter() - started)

    async def _answer(self, request: Request, template: str | None, send: Send) -> int:
        write = request.scope.pop(WRITE, None)  # left there it would be a cycle, for the collector
        try:
            self.service.keys.check(request)
            if template is None:
                return await self._pass_on(request, send)
            reply = await HOT[template](self.service, request)
        except Disconnected:
            return GONE
        except Exception as error:
            reply = self.problem(error, request)
            if isinstance(error, (Overloaded, Unauthorized)):
                request.scope[HOLD] = True
        finally:  # before the answer is sent: a client that reads slowly holds no place
            self.service.limits.leave(request)
        extra = self._extra()
        if write is None or not write(request, reply, extra):
            await send_reply(send, request, reply, extra)
        return reply.status

    def take(self, scope: Scope, body: bytes, write: Write) -> bool:
        """Score the records of a whole request and answer it, without a task for it: that would
        cost a fifth of the whole. False: it is not plain enough, and nothing has happened.
        """
        started, request = perf_counter(), Request(scope, _no_body)
        if request.path != SCORE or request.method != "POST":
            return False
        try:
            self.service.keys.check(request)
            asked = asked_of(self.service, request)
        except Exception:  # it is met again where it can be told
            return False
        rows = plain_rows(self.service, request, asked, body)
        if rows is None:
            return False
        self.service.limits.hold(request, len(body))
        request.records = len(rows)
        self.service.metrics.busy += 1
        tell = partial(self._tell, request, asked, rows, write, started)
        self.service.engine.submit(asked.model, rows, asked.options, tell)
        return True

    def _tell(
        self,
        request: Request,
        asked: Asked,
        rows: Rows,
        write: Write,
        started: float,
        scored: Scored,
    ) -> None:
        """Answer a request that was taken."""
        metrics, limits = self.service.metrics, self.service.limits
        limits.leave(request)
        limits.release(request)
        metrics.busy -= 1
        try:
            if isinstance(scored, Exception):
                raise scored
            reply = asked.reply(with_ids(scored, asked.model.reader.ids(rows)))
            metrics.tally.add(metrics.records_per_request, request.records)
            told = write(request, reply, self._extra())
        except Exception as error:
            reply = self.problem(error, request)
            told = write(request, reply, self._extra())
        self._measure(request, SCORE, reply.status if told else GONE, perf_counter() - started)

    def refuse(self, scope: Scope) -> tuple[Request, Reply, Headers]:
        """What a request of a hot route is told that finds no place."""
        started = perf_counter()
        request = Request(scope, _no_body)
        reply = self.problem(self.service.limits.overloaded(), request)
        template = hot_template(request.path) or "unmatched"
        self._measure(request, template, reply.status, perf_counter() - started)
        return request, reply, self._extra()

    def problem(self, error: Exception, request: Request) -> Reply:
        """An exception as its answer; our own faults go to the log with their traceback."""
        details = details_of(error, request.id)
        if details.status == 500:
            log.error("request %s failed", request.id, exc_info=error)
        return Reply(details.status, headers_of(error), msgspec.json.encode(details))

    def _extra(self) -> Headers:
        """Headers of every answer. While draining, the next request goes to another server."""
        return (*SECURITY, CLOSE) if self.service.registry.draining else SECURITY

    async def _pass_on(self, request: Request, send: Send) -> int:
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (id_header(request), *self._extra())
                message["headers"] = [*message["headers"], *own]
            await send(message)

        request.scope["vaewatch.request"] = request
        try:
            await self.rest(request.scope, request.receive, watched)
        except Exception:  # the handler of `vaewatch.service.app` has answered and logged it
            log.debug("request %s was answered %d", request.id, status)
        return status

    def _measure(self, request: Request, template: str, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        key = (template, method, status)
        series = self._series.get(key)
        if series is None:
            series = self.service.metrics.request_seconds.labels(template, method, str(status))
            self._series[key] = series
        self.service.metrics.tally.add(series, seconds)
        self.service.access_log.add(request, template, status, seconds)


async def _no_body() -> Message:
    """What a request that is refused at once has to read."""
    return {"type": "http.disconnect"}


def hot_template(path: str) -> str | None:
    """The template of a hot route that has this path."""
    return SCORE if path == SCORE else infer_template(path)


def _posted(route: Route) -> Route:
    async def post_only(service: Service, request: Request) -> Reply:
        if request.method != "POST":
            raise MethodNotAllowed("the method must be POST here, got another one.")
        return await route(service, request)

    return post_only


SCORE = "/v1/score"
HOT: Mapping[str, Route] = {
    SCORE: _posted(score),
    INFER: _posted(infer),
    INFER_VERSION: _posted(infer),
}
