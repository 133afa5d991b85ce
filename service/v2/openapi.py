"""The infer routes for the OpenAPI document: the framework does not see them."""

from __future__ import annotations

from typing import Any

from vaewatch.service.http.openapi import ENCODING, problem_responses, reference, schemas_of
from vaewatch.service.v2.infer import INFER, INFER_VERSION
from vaewatch.service.v2.tensors import InferAnswer, InferRequest


def infer_schemas() -> dict[str, Any]:
    """The schemas that `infer_paths` refers to."""
    return schemas_of(InferRequest, InferAnswer)


def infer_paths() -> dict[str, Any]:
    """The paths of the infer routes."""
    return {INFER: _path("model"), INFER_VERSION: _path("model", "version")}


def _path(*names: str) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    content = {
        "application/json": {"schema": reference("InferAnswer")},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    }
    asked = {"application/json": {"schema": reference("InferRequest")}}
    return {
        "post": {
            "summary": "Score the records in some tensors",
            "operationId": f"infer_by_{'_'.join(names)}",
            "tags": ["v2"],
            "parameters": [*parameters, ENCODING],
            "requestBody": {"required": True, "content": asked},
            "responses": {
                "200": {"description": "One tensor for each output.", "content": content},
                **problem_responses(),
            },
        }
    }
