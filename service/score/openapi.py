"""POST /v1/score for the OpenAPI document: the framework does not see this route."""

from __future__ import annotations

from typing import Any

from vaewatch.scoring.budget.calibration import LEAST_ALPHA
from vaewatch.scoring.score import PART_COLUMNS
from vaewatch.service.http.openapi import ENCODING, problem_responses, reference, schemas_of
from vaewatch.service.score.answers import (
    CSV_HEADER,
    HISTORY_NAMES,
    SEGMENT_NAMES,
    Rejected,
    Result,
    ScoreAnswer,
)
from vaewatch.service.score.options import MOST_REASONS

QUERY = {
    "alpha": {"type": "number", "minimum": LEAST_ALPHA, "exclusiveMaximum": 1},
    "explain": {"type": "integer", "minimum": 0, "maximum": MOST_REASONS},
    "on_error": {"type": "string", "enum": ["reject", "null"]},
    "judge": {"type": "string", "enum": ["all", "last"]},
}
QUERY_HELP = {
    "alpha": "False-alarm rate of these verdicts; the artifact's own by default. The pooled "
    "calibration judges records whose segment has too few records of its own to certify it.",
    "explain": "Largest number of reasons for each record, with the parts that sum to its score; "
    "by default three reasons, only for anomalies, and no parts.",
    "on_error": "null: a bad record gets an error in its place, and the others are scored.",
    "judge": "last: of an artifact with a window, only the newest record of each entity is "
    "judged; the others are its context, and have null in the place of a verdict.",
}
RECORD = {
    "type": "object",
    "description": "column: value; `GET /v1/model` shows the columns and an example",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
RECORDS = {"type": "array", "minItems": 1, "items": RECORD}
BODY = {
    "anyOf": [
        {"type": "object", "required": ["records"], "properties": {"records": RECORDS}},
        RECORDS,
    ]
}
BODIES = {
    "application/json": BODY,
    "application/x-ndjson": {"type": "string", "description": "One record a line."},
    "text/csv": {
        "type": "string",
        "description": "A header with the names of the columns, in any order, and one record a "
        "row; the delimiter may also be `;`, `|` or a tab.",
    },
}
ANSWERS = {
    "application/json": reference("ScoreAnswer"),
    "application/x-ndjson": {"type": "string", "description": "One Result or Rejected a line."},
    "text/csv": {
        "type": "string",
        "description": f"The header `{CSV_HEADER}` and one row a record. If the records have ids, "
        f"`id` stands first; with `explain`, `{', '.join(PART_COLUMNS)}` stand last. Of an "
        f"artifact with a segment, `{','.join(SEGMENT_NAMES)}` follow `error`; of one with a "
        f"window, `{HISTORY_NAMES[0]}` does.",
    },
}


def score_schemas() -> dict[str, Any]:
    """The schemas that `score_path` refers to."""
    found = schemas_of(ScoreAnswer, Result, Rejected)
    either = [reference("Result"), reference("Rejected")]
    found["ScoreAnswer"]["properties"]["results"]["items"] = {"anyOf": either}
    return found


def score_path() -> dict[str, Any]:
    """POST /v1/score."""
    query = [
        {"name": name, "in": "query", "schema": schema, "description": QUERY_HELP[name]}
        for name, schema in QUERY.items()
    ]
    return {
        "post": {
            "summary": "Score records, and answer in their order and media type",
            "operationId": "score",
            "tags": ["score"],
            "parameters": [*query, ENCODING],
            "requestBody": {"required": True, "content": _content(BODIES)},
            "responses": {
                "200": {
                    "description": "One result for each record.",
                    "headers": {"X-Model-Version": {"schema": {"type": "string"}}},
                    "content": _content(ANSWERS),
                },
                **problem_responses(),
            },
        }
    }


def _content(schemas: dict[str, Any]) -> dict[str, Any]:
    return {media: {"schema": schema} for media, schema in schemas.items()}
