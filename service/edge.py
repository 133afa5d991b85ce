"""ASGI -> the hot routes, or the framework: ids, headers, errors, times, all in one place.

The routes that score bypass FastAPI's dependency machinery, which costs more than scoring a
record does; `service.documents` puts them into the OpenAPI document.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.exchange import SECURITY, Headers, Reply, Request, send_reply
from service.limits import Disconnected
from service.logs import trace_of
from service.metrics import Child
from service.problems import MethodNotAllowed, details_of, headers_of
from service.state import Service

log = logging.getLogger("vaewatch.service")

Route = Callable[[Service, Request], Awaitable[Reply]]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
GONE = 499  # the client left; only the metrics and the log hear of it


class Edge:
    """The outermost layer."""

    def __init__(
        self, rest: ASGIApp, service: Service, hot: Mapping[tuple[str, str], Route]
    ) -> None:
        self.rest, self.service, self.hot = rest, service, hot
        self._hot_paths = {path for _, path in hot}
        self._series: dict[tuple[str, str, int], Child] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
            return
        started = perf_counter()
        request = Request(scope, receive)
        self.service.metrics.in_progress.inc()
        status = 500
        try:
            if request.path in self._hot_paths:
                status = await self._answer(request, send)
            else:
                status = await self._pass_on(request, send)
        finally:
            self.service.metrics.in_progress.dec()
            self._measure(request, status, perf_counter() - started)

    async def _answer(self, request: Request, send: Send) -> int:
        try:
            route = self.hot.get((request.method, request.path), _no_such_method)
            reply = await route(self.service, request)
        except Disconnected:
            return GONE
        except Exception as error:
            reply = self.problem(error, request)
        await send_reply(send, reply, self._headers(request))
        return reply.status

    def problem(self, error: Exception, request: Request) -> Reply:
        """An exception as its answer; our own faults go to the log with their traceback."""
        details = details_of(error, request.id)
        if details.status == 500:
            log.error("request %s failed\n%s", request.id, "\n".join(trace_of(error)))
        return Reply(details.status, headers_of(error), msgspec.json.encode(details))

    def _headers(self, request: Request) -> Headers:
        return [(b"x-request-id", request.id.encode()), *SECURITY]

    async def _pass_on(self, request: Request, send: Send) -> int:
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers(request)]
            await send(message)

        request.scope["vaewatch.request"] = request
        try:
            await self.rest(request.scope, request.receive, watched)
        except Exception:  # told and logged by the handler of `service.app`; nothing to add
            log.debug("request %s was answered %d", request.id, status)
        return status

    def _measure(self, request: Request, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        key = (self._template(request), method, status)
        series = self._series.get(key)
        if series is None:
            labels = (key[0], key[1], str(status))
            series = self._series[key] = self.service.metrics.request_seconds.labels(*labels)
        series.observe(seconds)

    def _template(self, request: Request) -> str:
        """The route's template, never the path itself: anybody can make up paths."""
        if request.path in self._hot_paths:
            return request.path
        return getattr(request.scope.get("route"), "path", "unmatched")


async def _no_such_method(service: Service, request: Request) -> Reply:
    raise MethodNotAllowed(f"{request.path} takes another method.")
