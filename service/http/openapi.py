"""The parts of the OpenAPI document that all routes share."""

from __future__ import annotations

from typing import Any

import msgspec

from vaewatch.service.http.problems import ProblemDetails

COMPONENT = "#/components/schemas/{name}"
PROBLEMS = {
    "400": "The body or the query is malformed.",
    "401": "A key is needed.",
    "403": "The key lacks the scope.",
    "404": "No such route or model.",
    "405": "The route takes another method.",
    "408": "The head or the body came too slowly.",
    "409": "Not possible now, or the artifact was refused.",
    "413": "The body, or the number of records, is over its limit.",
    "415": "Another media type or encoding than those named here.",
    "422": "Records break the schema; each broken rule is named.",
    "431": "The request line and headers are over their limit.",
    "429": "Too busy; try again after Retry-After seconds.",
    "503": "Starting or stopping, or the histories of entities or the store are away.",
}
ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "schema": {"type": "string", "enum": ["gzip", "identity"], "default": "identity"},
    "description": "gzip: the body is one or more whole gzip streams.",
}


def reference(name: str) -> dict[str, Any]:
    """Refer to a schema among the components."""
    return {"$ref": COMPONENT.format(name=name)}


def schemas_of(*kinds: type) -> dict[str, Any]:
    """The schemas of structs and of what they hold, by name."""
    return msgspec.json.schema_components(kinds, ref_template=COMPONENT)[1]


def problem_schemas() -> dict[str, Any]:
    """The schemas that `problem_responses` refers to."""
    return schemas_of(ProblemDetails)


def problem_responses() -> dict[int | str, dict[str, Any]]:
    """The errors that any route may answer with."""
    schema = {"schema": reference("ProblemDetails")}
    return {
        status: {"description": text, "content": {"application/problem+json": schema}}
        for status, text in PROBLEMS.items()
    }


def answered(schema: str, body: str | None = None) -> dict[str, Any]:
    """The parts of an operation that the framework does not see."""
    ok = {"description": "Done.", "content": {"application/json": {"schema": reference(schema)}}}
    found: dict[str, Any] = {"responses": {"200": ok}}
    if body is not None:
        content = {"application/json": {"schema": reference(body)}}
        found["requestBody"] = {"required": True, "content": content}
    return found
