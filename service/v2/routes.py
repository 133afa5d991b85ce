"""The routes of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from vaewatch.scoring.errors import RecordError
from vaewatch.scoring.table import parse_records
from vaewatch.service.http.exchange import Reply, Request
from vaewatch.service.http.problems import NotFound, NotReady
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.parts import Service
from vaewatch.service.score.answers import Result
from vaewatch.service.score.options import DEFAULT
from vaewatch.service.v2.tensors import metadata_of, read_request, records_of, write_answer
from vaewatch.service.watch.metrics import build_version

JSON_LENGTH = b"inference-header-content-length"
INFER, INFER_VERSION = "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"


def infer_template(path: str) -> str | None:
    """The template of an infer route that has this path."""
    parts = path.split("/")
    if parts[:3] != ["", "v2", "models"] or parts[-1] != "infer":
        return None
    if len(parts) == 7 and parts[4] == "versions":
        return INFER_VERSION
    return INFER if len(parts) == 5 else None


async def infer(service: Service, request: Request) -> Reply:
    """Verdicts of the records in some tensors."""
    parts = request.path.split("/")
    model = named(service.registry, parts[3], parts[5] if len(parts) == 7 else None)
    with service.limits.held(request):
        body = await service.limits.read(request)
        service.limits.enter(request)
        asked, values = read_request(body, request.headers.get(JSON_LENGTH))
        records = records_of(model.scorer.artifact.schema, asked.inputs, values)
        request.records = len(records)
        results = await _score(service, model, records)
    service.metrics.tally.add(service.metrics.records_per_request, request.records)
    answer, length = write_answer(asked, model.name.name, model.name.version, results)
    headers = [(b"x-model-version", model.name.version.encode())]
    if length is None:
        headers.append((b"content-type", b"application/json"))
    else:
        headers.append((b"content-type", b"application/octet-stream"))
        headers.append((JSON_LENGTH, str(length).encode()))
    return Reply(200, headers, answer)


async def _score(service: Service, model: Model, records: list[Any]) -> list[Result]:
    model.reader.check_count(len(records))
    table, problems = parse_records(model.scorer.artifact.schema, records)
    if problems:
        service.monitor.reject(model, len(records))
        raise RecordError(problems)
    return await service.engine.score_table(model, table, DEFAULT)


def named(registry: Registry, name: str, version: str | None = None) -> Model:
    """The model that answers, if it is the one asked for."""
    model = registry.active
    if name != model.name.name or version not in (None, model.name.version):
        raise NotFound(f"the model here is '{model.name.name}', version {model.name.version}.")
    return model


def add_v2_routes(app: FastAPI, service: Service) -> None:
    """All but infer, which is a hot route."""
    registry = service.registry

    @app.get("/v2", tags=["v2"], summary="The server")
    async def server() -> dict[str, Any]:
        return {
            "name": "vaewatch",
            "version": build_version(),
            "extensions": ["binary_tensor_data"],
        }

    @app.get("/v2/health/live", tags=["v2"], summary="The process runs")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=["v2"], summary="A verified model answers")
    async def ready() -> dict[str, bool]:
        if not registry.ready:
            raise NotReady("the service is starting or stopping.")
        return {"ready": True}

    @app.get("/v2/models/{model}", tags=["v2"], summary="The tensors of the model")
    @app.get("/v2/models/{model}/versions/{version}", tags=["v2"], summary="The same, by version")
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        found = named(registry, model, version)
        return metadata_of(found.name.name, found.name.version, found.scorer.artifact.schema)

    @app.get("/v2/models/{model}/ready", tags=["v2"], summary="The model answers")
    @app.get("/v2/models/{model}/versions/{version}/ready", tags=["v2"], summary="By version")
    async def model_ready(model: str, version: str | None = None) -> dict[str, Any]:
        found = named(registry, model, version)
        return {"name": found.name.name, "ready": registry.ready}
