"""The Open Inference Protocol, spoken by tritonclient and by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, make_frame
from tests.live import Live, serving
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as running:
        yield running


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").head(20).to_dicts()


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_gets_the_scores_of_the_library(
    live: Live, records: list[dict[str, Any]], scorer: Scorer, binary: bool
):
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(live.url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("shop")
    metadata = client.get_model_metadata("shop")
    inputs = []
    for column in scorer.artifact.schema.columns:
        values = [record[column.name] for record in records]
        if column.kind is Kind.NUMERIC:
            array = np.array([np.nan if v is None else v for v in values], np.float64)
        else:
            array = np.array(values, np.bool_ if column.kind is Kind.BOOLEAN else np.object_)
        datatype = next(i["datatype"] for i in metadata["inputs"] if i["name"] == column.name)
        tensor = http.InferInput(column.name, [len(array)], datatype)
        if not binary and column.name == "age":
            array = np.nan_to_num(array, nan=40.0)  # NaN has no JSON
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    outputs = [
        http.InferRequestedOutput(name, binary_data=binary)
        for name in ("score", "is_anomaly", "reasons")
    ]
    answer = client.infer("shop", inputs, outputs=outputs, request_id="r1")
    filled = [{**r, "age": r["age"] if binary or r["age"] is not None else 40.0} for r in records]
    expected = scorer.score_records(filled)
    np.testing.assert_allclose(answer.as_numpy("score"), expected.score, rtol=1e-5)
    np.testing.assert_array_equal(answer.as_numpy("is_anomaly"), expected.is_anomaly)
    assert answer.get_response()["id"] == "r1"
    assert [len(json.loads(text)) for text in answer.as_numpy("reasons")] == [
        len(reasons) for reasons in expected.reasons
    ]
    client.close()


def test_one_matrix_when_all_columns_are_numeric(tmp_path: Path):
    frame = make_frame(400).select("amount", "items", pl.col("version").alias("size"))
    scorer = train(frame, tmp_path / "numbers", report=False, alpha=0.05, **SMALL)
    with serving(tmp_path / "numbers") as live:
        tensor = {
            "name": "x",
            "shape": [3, 3],
            "datatype": "FP32",
            "data": frame.head(3).to_numpy().tolist(),
        }
        answer = live.post("/v2/models/numbers/infer", json={"inputs": [tensor]}).json()
    scores = next(o["data"] for o in answer["outputs"] if o["name"] == "score")
    expected = scorer.score_records(frame.head(3).to_dicts()).score
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_metadata_and_health(live: Live, scorer: Scorer):
    assert live.get("/v2").json()["name"] == "vaewatch"
    assert live.get("/v2/health/live").status_code == 200
    assert live.get("/v2/health/ready").status_code == 200
    version = scorer.artifact.version
    assert live.get(f"/v2/models/shop/versions/{version}").json()["versions"] == [version]
    assert live.get(f"/v2/models/shop/versions/{version}/ready").json()["ready"] is True
    assert live.get("/v2/models/other").status_code == 404
    assert live.get("/v2/models/shop/versions/9/ready").status_code == 404


def column(name: str = "amount", **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1], "datatype": "FP64", "data": [1.0], **changes}


@pytest.mark.parametrize(
    ("inputs", "status", "text"),
    [
        ([], 400, "one tensor for each column"),
        ([column(), column()], 400, "each named once"),
        ([column(shape=[2])], 400, "must fill its shape"),
        ([column(shape=[-1])], 400, "must not be negative"),
        ([column(), column("items", shape=[2], data=[1, 2])], 400, "the same N"),
        ([column(shape=[1, 2], data=[1, 2])], 400, "must be numeric"),
        ([column(shape=[9] * 600_000)], 400, "got 600,000 sizes"),
        ([column(parameters={"binary_data_size": 9})], 400, "must lie within the body"),
        ([column(data=[[1.0]])], 422, "must be there"),
        ([{"name": 1}], 400, "must be an inference request"),
        ([column(shape=[0], data=[])], 400, "at least one record"),
    ],
)
def test_a_bad_request_is_a_problem(live: Live, inputs: list[Any], status: int, text: str):
    answer = live.post("/v2/models/shop/infer", json={"inputs": inputs})
    assert (answer.status_code, text in answer.json()["error"]) == (status, True), answer.text


def test_judge_last_takes_an_artifact_with_a_window(live: Live):
    body = {"inputs": [], "parameters": {"judge": "last"}}
    body["inputs"] = [{"name": "amount", "datatype": "FP64", "shape": [1], "data": [1.0]}]
    answer = live.post("/v2/models/shop/infer", json=body)
    assert answer.status_code == 400 and "takes an artifact with a window" in answer.text
