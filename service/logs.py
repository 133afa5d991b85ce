"""what happened -> log lines, without a value of any record."""

from __future__ import annotations

import logging
import sys
import traceback


def trace_of(error: BaseException) -> list[str]:
    """Where an exception came from, without its text: that may quote a value."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return [*places, f"  {type(error).__name__}"]


def set_up(level: str) -> None:
    """Send the service's and the server's own lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in ("vaewatch", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
