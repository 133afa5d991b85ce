"""ASGI -> the hot routes, or the framework. Keys, headers, errors and times are dealt with here,
for every route alike.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vaewatch.service.http.auth import Keys
from vaewatch.service.http.body import Disconnected
from vaewatch.service.http.exchange import (
    CLOSE,
    HOLD,
    PLACE,
    REQUEST,
    SECURITY,
    WRITE,
    HotRoute,
    HotRoutes,
    HttpHeaders,
    Reply,
    Request,
    Write,
    check_head,
    id_header,
    send_reply,
)
from vaewatch.service.http.limits import Crowd, Limits, Place
from vaewatch.service.http.problems import (
    MethodNotAllowed,
    Overloaded,
    Unauthorized,
    details_of,
    headers_of,
    shown,
)
from vaewatch.service.model.registry import Registry
from vaewatch.service.watch.logs import AccessLine, AccessLog
from vaewatch.service.watch.metrics import BatchHistogram, Metrics

log = logging.getLogger("vaewatch.service")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNMATCHED = "unmatched"  # the template of a path without a route: anybody can make up paths
UNREAD = {
    "method": "other",
    "path": "",
    "query_string": b"",
    "headers": (),
    "http_version": "1.1",
}
GONE = 499  # the client left; only the metrics and the log show it


@dataclass
class Edge:
    """The outermost layer of the application."""

    rest: ASGIApp
    hot: HotRoutes
    keys: Keys
    limits: Limits
    crowd: Crowd
    registry: Registry
    metrics: Metrics
    access_log: AccessLog
    _series: dict[tuple[str, str, int], BatchHistogram] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.rest(scope, receive, send)
            return
        started = perf_counter()
        place = scope.pop(PLACE, None) or Place(self.limits)
        request, status = Request(scope, receive, place), GONE
        route = self.hot(request.path)
        try:
            status = await self._answer(request, route, send)
        finally:
            if route is not None:
                template = route.template
            else:
                template = str(getattr(scope.get("route"), "path", UNMATCHED))
            self._measure(request, template, status, perf_counter() - started)

    async def _answer(self, request: Request, route: HotRoute | None, send: Send) -> int:
        write = request.scope.pop(WRITE, None)  # left there it would be a cycle, for the collector
        try:
            with request.place:  # left before the answer is sent: a slow reader holds no place
                if request.odd:
                    check_head(request)
                self.keys.check(request)
                if route is None:
                    return await self._pass_on(request, send)
                reply = await _posted(route, request)
        except Disconnected:
            return GONE
        except Exception as error:
            reply = problem(error, request)
            if isinstance(error, (Overloaded, Unauthorized)):
                request.scope[HOLD] = True
        extra = self._extra()
        if write is None or not write(request, reply, extra):
            await send_reply(send, request, reply, extra)
        return reply.status

    def take(self, scope: Scope, body: bytes, write: Write) -> bool:
        """Answer a request of a hot route whose body is whole, without a task for it, which would
        cost a fifth of the whole. Returns False if it takes a task; then nothing has happened yet.
        """
        started, route = perf_counter(), self.hot(scope["path"])
        if route is None or route.plain is None:
            return False
        request = Request(scope, _no_body, scope[PLACE])
        try:
            if request.odd:
                check_head(request)
            self.keys.check(request)
            start = route.plain(request, body)
        except Exception:  # raised again in the request's task, where it can be answered
            return False
        if start is None:
            return False
        request.place.enter_with(len(body))
        start(partial(self._finish, request, route.template, write, started))
        return True

    def _finish(
        self,
        request: Request,
        template: str,
        write: Write,
        started: float,
        replied: Reply | Exception,
    ) -> None:
        """Answer a request that was taken."""
        request.place.__exit__()
        try:
            reply = problem(replied, request) if isinstance(replied, Exception) else replied
            written = write(request, reply, self._extra())
        except Exception as error:
            reply = problem(error, request)
            written = write(request, reply, self._extra())
        status = reply.status if written else GONE
        self._measure(request, template, status, perf_counter() - started)

    def refuse(self, scope: Scope, error: Exception) -> tuple[Request, Reply, HttpHeaders]:
        """Refuse a request before its body is read."""
        started = perf_counter()
        request = Request(scope, _no_body, Place(self.limits))
        reply = problem(error, request)
        route = self.hot(request.path)
        template = UNMATCHED if route is None else route.template
        self._measure(request, template, reply.status, perf_counter() - started)
        return request, reply, self._extra()

    def refuse_unread(self, error: Exception) -> tuple[Request, Reply, HttpHeaders]:
        """Refuse what is no request, or has no end."""
        return self.refuse(dict(UNREAD), error)

    def _extra(self) -> HttpHeaders:
        """Headers of every answer. While draining, the next request goes to another server."""
        return (*SECURITY, CLOSE) if self.registry.draining else SECURITY

    async def _pass_on(self, request: Request, send: Send) -> int:
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (id_header(request), *self._extra())
                message["headers"] = [*message["headers"], *own]
            await send(message)

        scope = request.scope
        scope[REQUEST] = request
        if request.method == "HEAD":  # the server leaves the body of the answer out
            scope = {**scope, "method": "GET"}
        try:
            await self.rest(scope, request.receive, watched)
        except Exception:  # the handler of `vaewatch.service.app` has answered and logged it
            log.debug("request %s was answered %d", request.id, status)
        request.scope["route"] = scope.get("route")
        return status

    def _measure(self, request: Request, template: str, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"
        key = (template, method, status)
        series = self._series.get(key)
        if series is None:
            series = self.metrics.request_seconds.labels(template, method, str(status))
            self._series[key] = series
        self.metrics.tally.add(series, seconds)
        if self.access_log.levels:
            self.access_log.add(
                AccessLine(
                    request_id=request.id,
                    method=request.method,
                    route=template,
                    status=status,
                    seconds=round(seconds, 6),
                    bytes=request.place.size,
                    records=request.records,
                )
            )


def problem(error: Exception, request: Request) -> Reply:
    """Answer an exception; our own faults go to the log with their traceback."""
    details = details_of(error, request.id)
    if details.status == 500:
        log.error("request %s failed", request.id, exc_info=error)
    return Reply(details.status, headers_of(error), msgspec.json.encode(details))


def _posted(route: HotRoute, request: Request) -> Awaitable[Reply]:
    if request.method != "POST":
        got = shown(request.method)
        raise MethodNotAllowed(f"the method must be POST here, got {got}.", "POST")
    return route.answer(request)


async def _no_body() -> Message:
    """The receive channel of a request whose body has been read already."""
    return {"type": "http.disconnect"}
