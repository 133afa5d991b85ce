"""edge -> the protocol that uvicorn speaks with clients: the gate, or uvicorn's own.

The gate builds on private names of uvicorn. Where a later release lacks one, uvicorn's own
protocol serves: it answers the same, more slowly, and an overload costs it more.
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
        "_start_asgi_task",
        "_unset_keepalive_if_required",
        "app",
        "connections",
        "cycle",
        "data_received",
        "flow",
        "loop",
        "on_headers_complete",
        "on_message_complete",
        "on_response_complete",
        "server_state",
        "transport",
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
        "waiting_for_100_continue",
    ),
    "FlowControl": ("pause_reading", "write_paused"),
    "ServerState": ("connections", "default_headers"),
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


def protocol_of(edge: Edge) -> type[asyncio.Protocol] | Literal["auto"]:
    """The gate of an edge; 'auto', which is uvicorn's own choice, if a name is missing."""
    if missing_of_uvicorn():
        return "auto"
    from vaewatch.service.http.gate import gate_of  # importing it fails where a name is missing

    return gate_of(edge)
