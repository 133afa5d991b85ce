"""POST .../infer of the Open Inference Protocol: tensors -> records -> results -> tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import cast

from vaewatch.service.http.body import media_type_in, read_body
from vaewatch.service.http.exchange import HotRoute, Reply, Request
from vaewatch.service.http.problems import NotFound
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.answers import Result, Results
from vaewatch.service.score.messages import CheckedRecords, check_count
from vaewatch.service.score.options import DEFAULT, LAST, Options, last_in
from vaewatch.service.score.route import check_judge
from vaewatch.service.score.scoring import Asked, Scoring
from vaewatch.service.v2.tensors import InferRequest, read_request, records_of, write_answer

JSON_LENGTH = b"inference-header-content-length"
INFER, INFER_VERSION = "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"


@dataclass(frozen=True)
class InferRoute:
    """Answers requests for inference."""

    scoring: Scoring

    def hot(self) -> dict[str, HotRoute]:
        """The two routes, by their templates."""
        return {name: HotRoute(name, self.answer) for name in (INFER, INFER_VERSION)}

    async def answer(self, request: Request) -> Reply:
        """Read tensors within the limits, score their records, and answer in tensors."""
        media_type_in(request)  # any is read; what pages of other sites send is not
        parts = request.path.split("/")
        model = named(self.scoring.registry, parts[3], parts[5] if len(parts) == 7 else None)
        body = await read_body(request)
        inference, values = read_request(body, request.headers.get(JSON_LENGTH))
        schema = model.scorer.artifact.schema
        records = records_of(schema, inference.inputs, values)
        request.records = len(records)
        check_count(len(records), model.reader.max_records)
        asked = Asked(model, _options(inference, model), partial(_reply, inference, model))
        checked = CheckedRecords.of(schema, records)
        results = await self.scoring.score(request, asked, checked)
        return self.scoring.reply(request, asked, results)


def _options(inference: InferRequest, model: Model) -> Options:
    """Read the request's parameter `judge`; others are left to other servers."""
    given = inference.parameters.get("judge")
    options = LAST if last_in(given) else DEFAULT
    check_judge(options, model)
    return options


def _reply(inference: InferRequest, model: Model, results: Results) -> Reply:
    good = cast(list[Result], results)  # there is no `?on_error=null` here
    answer, length = write_answer(inference, model.name, model.scorer.artifact, good)
    headers = [(b"x-model-version", model.name.version.encode())]
    if length is None:
        headers.append((b"content-type", b"application/json"))
    else:
        headers.append((b"content-type", b"application/octet-stream"))
        headers.append((JSON_LENGTH, str(length).encode()))
    return Reply(200, headers, answer)


def infer_template(path: str) -> str | None:
    """The template of the infer route that has this path; None if it is no such path."""
    parts = path.split("/")
    if parts[:3] != ["", "v2", "models"] or parts[-1] != "infer":
        return None
    if len(parts) == 7 and parts[4] == "versions":
        return INFER_VERSION
    return INFER if len(parts) == 5 else None


def named(registry: Registry, name: str, version: str | None = None) -> Model:
    """The model that answers, if it has this name and version.

    Raises:
        NotFound: it has others.
    """
    model = registry.active
    if name != model.name.name or version not in (None, model.name.version):
        raise NotFound(f"the model here is '{model.name.name}', version {model.name.version}.")
    return model
