"""structs -> the OpenAPI document of the hot routes, which FastAPI does not see."""

from __future__ import annotations

from typing import Any

import msgspec

from vaewatch.scoring.calibration import LEAST_ALPHA
from vaewatch.service.http.problems import ProblemDetails
from vaewatch.service.score.answers import Rejected, Result, ScoreAnswer
from vaewatch.service.score.options import MOST_REASONS
from vaewatch.service.v2.routes import INFER, INFER_VERSION
from vaewatch.service.v2.tensors import InferAnswer, InferRequest

COMPONENT = "#/components/schemas/{name}"
PROBLEMS = {
    "400": "The body or the query is malformed.",
    "401": "A key is needed.",
    "403": "The key lacks the scope.",
    "404": "No such route or model.",
    "405": "The route takes another method.",
    "408": "The body came too slowly.",
    "409": "Not possible now, or the artifact was refused.",
    "413": "The body, or the number of records, is over its limit.",
    "415": "Another media type or encoding than those named here.",
    "422": "Records break the schema; each broken rule is named.",
    "429": "Too busy; try again after Retry-After seconds.",
    "503": "Starting or stopping.",
}
QUERY = {
    "alpha": {"type": "number", "minimum": LEAST_ALPHA, "exclusiveMaximum": 1},
    "explain": {"type": "integer", "minimum": 0, "maximum": MOST_REASONS},
    "on_error": {"type": "string", "enum": ["reject", "null"]},
}
QUERY_HELP = {
    "alpha": "False-alarm rate of these verdicts; the artifact's own by default.",
    "explain": "So many reasons for each record, and the parts that sum to its score; by default "
    "three reasons, only for anomalies, and no parts.",
    "on_error": "null: a bad record gets an error in its place, the others are scored.",
}
RECORD = {
    "type": "object",
    "description": "column: value; `GET /v1/model` shows the columns and an example",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
SCORE_BODY = {
    "type": "object",
    "required": ["records"],
    "properties": {"records": {"type": "array", "minItems": 1, "items": RECORD}},
}


def components() -> dict[str, Any]:
    """The schemas of what the hot routes answer."""
    _, found = msgspec.json.schema_components(
        [ScoreAnswer, Result, Rejected, ProblemDetails, InferRequest, InferAnswer],
        ref_template=COMPONENT,
    )
    either = [{"$ref": COMPONENT.format(name=name)} for name in ("Result", "Rejected")]
    found["ScoreAnswer"]["properties"]["results"]["items"] = {"anyOf": either}
    return found


def problem_responses() -> dict[int | str, dict[str, Any]]:
    """The errors that any route may answer with."""
    schema = {"schema": {"$ref": COMPONENT.format(name="ProblemDetails")}}
    return {
        status: {"description": text, "content": {"application/problem+json": schema}}
        for status, text in PROBLEMS.items()
    }


def score_path() -> dict[str, Any]:
    """POST /v1/score."""
    answer = {"$ref": COMPONENT.format(name="ScoreAnswer")}
    lines = {"type": "string", "description": "one result a line"}
    body_lines = {"type": "string", "description": "one record a line"}
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": QUERY_HELP[name]}
        for name, schema in QUERY.items()
    ]
    return {
        "post": {
            "summary": "Verdicts of records, in their order",
            "operationId": "score",
            "tags": ["score"],
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": SCORE_BODY},
                    "application/x-ndjson": {"schema": body_lines},
                },
            },
            "responses": {
                "200": {
                    "description": "One result for each record.",
                    "content": {
                        "application/json": {"schema": answer},
                        "application/x-ndjson": {"schema": lines},
                    },
                },
                **problem_responses(),
            },
        }
    }


def infer_path(*names: str) -> dict[str, Any]:
    """POST .../infer of the Open Inference Protocol."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    content = {
        "application/json": {"schema": {"$ref": COMPONENT.format(name="InferAnswer")}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    asked = {"application/json": {"schema": {"$ref": COMPONENT.format(name="InferRequest")}}}
    return {
        "post": {
            "summary": "Verdicts of the records in some tensors",
            "operationId": f"infer_by_{'_'.join(names)}",
            "tags": ["v2"],
            "parameters": parameters,
            "requestBody": {"required": True, "content": asked},
            "responses": {
                "200": {"description": "One tensor for each output.", "content": content},
                **problem_responses(),
            },
        }
    }


def add_hot_routes(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with the hot routes in it."""
    document.setdefault("components", {}).setdefault("schemas", {}).update(components())
    document["paths"] = {
        "/v1/score": score_path(),
        **document["paths"],
        INFER: infer_path("model"),
        INFER_VERSION: infer_path("model", "version"),
    }
    return document
