"""requests and log records -> JSON lines on stderr, without a value of any record."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vaewatch.service.watch.stderr import lines as stderr

LEVELS = ("debug", "info", "warning", "error")
FLUSH_SECONDS = 0.2
MOST_KEPT = 100  # lines: writing more at a time would hold up answers
# routes that machines ask for every few seconds: a line for each would bury the others, so they
# are logged at debug level unless they are refused
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
    """Say where an exception came from, without its text, which may quote a value."""
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


class AuditLine(msgspec.Struct, kw_only=True):
    """One change of the model that a request asked for, whatever lines the settings leave out.

    key: the name of the key that it brought; None where the service has no keys.
    proposal: the id of the recalibration, if it is one; subject: that of feedback or a pattern.
    """

    time: str
    level: str = "info"
    logger: str = "vaewatch.audit"
    action: str
    key: str | None
    request_id: str
    result: str
    version: str
    proposal: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET


def audit(
    action: str,
    key: str | None,
    request_id: str,
    result: str,
    version: str,
    proposal: str | None = None,
    subject: str | None = None,
) -> None:
    """Log who changed the model, or said something of its alarms."""
    line = AuditLine(
        time=_stamp(time.time()),
        action=action,
        key=key,
        request_id=request_id,
        result=result,
        version=version,
        proposal=UNSET if proposal is None else proposal,
        subject=UNSET if subject is None else subject,
    )
    stderr.write(_encode(line).decode() + "\n")


class Stderr(logging.Handler):
    """Writes to stderr without waiting for it."""

    def emit(self, record: logging.LogRecord) -> None:
        stderr.write(self.format(record) + "\n")


def set_up(level: str) -> None:
    """Send the lines of the service and of uvicorn to stderr."""
    handler = Stderr()
    handler.setFormatter(JsonLines())
    for name in ("vaewatch", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel("WARNING")


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class AccessLine(msgspec.Struct, kw_only=True):
    """One request that was answered. `time` and `level` are filled in when it is logged.

    route: the template of the route, never the path, which anybody can make up.
    seconds: from the head of the request to its answer.
    bytes: of the body, after gzip.
    """

    time: str = ""
    level: str = ""
    logger: str = "vaewatch.access"
    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    bytes: int
    records: int


def level_of(route: str, status: int) -> str:
    """The level that an answered request is logged at."""
    if status >= 500:
        return "error"
    return "debug" if route in POLLED and status < 400 else "info"


def levels_from(least: str) -> frozenset[str]:
    """The level `least` and those above it."""
    return frozenset(LEVELS[LEVELS.index(least) :])


@dataclass
class AccessLog:
    """Writes lines a few at a time: one write for each would cost as much as the scoring.

    levels: a line of another level is dropped.
    """

    levels: frozenset[str]
    _lines: list[AccessLine] = field(default_factory=list)

    def add(self, line: AccessLine) -> None:
        """Write a line soon, if its level is wanted."""
        line.level = level_of(line.route, line.status)
        if line.level not in self.levels:
            return
        line.time = _stamp(time.time())
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(line)
        if len(self._lines) >= MOST_KEPT:
            self.flush()

    def flush(self) -> None:
        """Write the lines that are kept back."""
        lines, self._lines = self._lines, []
        if lines:
            stderr.write(b"\n".join(map(_encode, lines)).decode() + "\n")
