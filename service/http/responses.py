"""what a route of the framework answers -> its response."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from vaewatch.service.http.exchange import Reply


def json_of(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def response_of(reply: Reply) -> Response:
    headers = {key.decode(): value.decode() for key, value in reply.headers}
    return Response(reply.body, reply.status, headers)
