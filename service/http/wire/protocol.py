"""edge -> the protocol that uvicorn speaks with clients: the gate, or uvicorn's own.

The gate builds on private names of uvicorn. Where a later release lacks one, uvicorn's own
protocol on h11 serves: it answers the same, more slowly, and an overload costs it more.
"""

from __future__ import annotations

import asyncio
import importlib
from functools import cache
from typing import Literal

from vaewatch.service.http.edge import Edge
from vaewatch.service.private import Private

IMPLEMENTATION = "uvicorn.protocols.http.httptools_impl"
PRIVATE = {
    "HttpToolsProtocol": (
        "_should_upgrade",
        "_start_asgi_task",
        "app",
        "connection_lost",
        "connection_made",
        "connections",
        "cycle",
        "data_received",
        "eof_received",
        "flow",
        "headers",
        "loop",
        "on_body",
        "on_headers_complete",
        "on_message_complete",
        "on_response_complete",
        "parser",
        "pipeline",
        "scheme",
        "scope",
        "send_400_response",
        "server_state",
        "shutdown",
        "transport",
        "url",
    ),
    "RequestResponseCycle": (
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "on_response",
        "response_complete",
        "response_started",
        "scope",
        "transport",
        "waiting_for_100_continue",
    ),
    "FlowControl": ("pause_reading", "resume_reading", "write_paused"),
    "ServerState": ("connections", "default_headers", "total_requests"),
}


@cache
def missing_of_uvicorn() -> tuple[str, ...]:
    """The private names that the gate needs and this uvicorn lacks."""
    try:
        module = importlib.import_module(IMPLEMENTATION)
    except ImportError:
        return (IMPLEMENTATION,)
    missing = [] if hasattr(module, "STATUS_LINE") else ["STATUS_LINE"]
    for name, names in PRIVATE.items():
        kind = getattr(module, name, None)
        missing += Private(kind, names).missing() if isinstance(kind, type) else [name]
    return tuple(missing)


def protocol_of(edge: Edge) -> type[asyncio.Protocol] | Literal["h11"]:
    """The gate of an edge; if a name is missing, the stricter one of uvicorn's own protocols."""
    if missing_of_uvicorn():
        return "h11"
    from vaewatch.service.http.wire.gate import (
        gate_of,
    )  # importing it fails where a name is missing

    return gate_of(edge)
