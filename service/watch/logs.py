"""what happened -> JSON log lines on stderr, without a value of any record."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from vaewatch.service.http.exchange import Request

LEVELS = ("debug", "info", "warning", "error")
FLUSH_SECONDS = 0.2
MOST_KEPT = 100  # lines: to write more at a time would hold up answers
# what machines ask for every few seconds, by its route's template: a line for each would bury the
# others, so that they are told at debug level, unless they are refused
POLLED = frozenset(
    {
        "/console/state",
        "/livez",
        "/metrics",
        "/readyz",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}/ready",
    }
)
_encode = msgspec.json.Encoder().encode


def trace_of(error: BaseException) -> list[str]:
    """Where an exception came from, without its text: that may quote a value."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return [*places, type(error).__name__]


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = trace_of(record.exc_info[1])
        return _encode(line).decode()


def set_up(level: str) -> None:
    """Send the service's and the server's own lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("vaewatch", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel("WARNING")


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class Line(msgspec.Struct):
    """One request. The path is a route's template, the id a checked one."""

    time: str
    level: str
    logger: str
    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    bytes: int
    records: int


def level_of(route: str, status: int) -> str:
    """Of an answered request."""
    if status >= 500:
        return "error"
    return "debug" if route in POLLED and status < 400 else "info"


def levels_from(least: str) -> frozenset[str]:
    """This level and those above it."""
    return frozenset(LEVELS[LEVELS.index(least) :])


@dataclass
class AccessLog:
    """Writes lines some at a time: a write for each would cost as much as the scoring.

    levels: those of the lines to write.
    """

    levels: frozenset[str]
    _lines: list[Line] = field(default_factory=list)

    def add(self, request: Request, route: str, status: int, seconds: float) -> None:
        level = level_of(route, status)
        if level not in self.levels:
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(
            Line(
                time=_stamp(time.time()),
                level=level,
                logger="vaewatch.access",
                request_id=request.id,
                method=request.method,
                route=route,
                status=status,
                seconds=round(seconds, 6),
                bytes=request.size,
                records=request.records,
            )
        )
        if len(self._lines) >= MOST_KEPT:
            self.flush()

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write(b"\n".join(map(_encode, lines)).decode() + "\n")
            sys.stderr.flush()
