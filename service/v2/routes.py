"""The routes of the Open Inference Protocol that do not score."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from vaewatch.service.model.errors import NotReady
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.v2.infer import named
from vaewatch.service.v2.tensors import metadata_of
from vaewatch.service.watch.metrics import build_version


def add_v2_routes(app: FastAPI, registry: Registry) -> None:
    """Add the server's, the health and the models' routes."""

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
    async def metadata(model: str) -> dict[str, Any]:
        return _tensors(named(registry, model))

    @app.get("/v2/models/{model}/versions/{version}", tags=["v2"], summary="The same, by version")
    async def version_metadata(model: str, version: str) -> dict[str, Any]:
        return _tensors(named(registry, model, version))

    @app.get("/v2/models/{model}/ready", tags=["v2"], summary="The model answers")
    async def model_ready(model: str) -> dict[str, Any]:
        return {"name": named(registry, model).name.name, "ready": registry.ready}

    @app.get("/v2/models/{model}/versions/{version}/ready", tags=["v2"], summary="By version")
    async def version_ready(model: str, version: str) -> dict[str, Any]:
        return {"name": named(registry, model, version).name.name, "ready": registry.ready}


def _tensors(model: Model) -> dict[str, Any]:
    return metadata_of(model.name.name, model.name.version, model.scorer.artifact)
