"""What goes wrong at the worst time: reloads and kills under load, random bytes, the document."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL, make_frame
from tests.live import Live, serving, until
from tests.service.test_service_life import new_workers, reloads_on_sighup
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.training.train import train


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


@pytest.fixture(scope="module")
def live(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as running:
        yield running


@contextmanager
def load(live: Live, body: Any, threads: int = 3) -> Iterator[list[httpx.Response | str]]:
    """Requests without a pause until the block ends."""
    answers: list[httpx.Response | str] = []
    ended = threading.Event()

    def hammer() -> None:
        with httpx.Client(timeout=20) as client:
            while not ended.is_set():
                try:
                    answers.append(client.post(live.url + "/v1/score", json=body))
                except httpx.TransportError as error:
                    answers.append(type(error).__name__)

    running = [threading.Thread(target=hammer) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in running:
            thread.join()


@pytest.mark.alone
def test_reloads_under_load_fail_no_request(
    artifact_path: Path, tmp_path: Path, records: list[dict[str, Any]]
):
    other = tmp_path / "b"
    train(make_frame(200, seed=9), other, report=False, alpha=0.05, id="order", seed=4, **SMALL)
    shutil.copytree(artifact_path, tmp_path / "a")
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "a")
    with serving(link) as live, load(live, {"records": records[:3]}) as answers:
        for turn in range(100):
            draft = tmp_path / "draft"
            draft.symlink_to(tmp_path / "ba"[turn % 2])
            draft.rename(link)
            assert live.post("/v1/reload").json()["result"] == "loaded"
    by_version: dict[str, set[float]] = {}
    for answer in answers:
        assert isinstance(answer, httpx.Response) and answer.status_code == 200
        found = answer.json()
        assert answer.headers["x-model-version"] == found["model"]["version"]
        by_version.setdefault(found["model"]["version"], set()).add(
            round(found["results"][0]["score"], 3)
        )
    assert by_version.keys() == {
        read_manifest(artifact_path).version,
        read_manifest(other).version,
    }
    assert all(len(scores) == 1 for scores in by_version.values())


@pytest.mark.alone
def test_a_killed_worker_takes_only_its_own_requests_along(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path, "--workers", "3") as live:
        until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 3)
        with load(live, {"records": records[:3]}) as answers:
            time.sleep(1)
            os.kill(new_workers(live.process.pid, [])[0], signal.SIGKILL)
            time.sleep(2)
    failed = [answer for answer in answers if isinstance(answer, str)]
    assert len(failed) <= 3  # one for each client
    assert all(a.status_code == 200 for a in answers if isinstance(a, httpx.Response))
    assert len(answers) > 50


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.binary(max_size=200),
    media=st.sampled_from(["application/json", "application/x-ndjson", "text/csv", "x"]),
    encoding=st.sampled_from(["identity", "gzip"]),
    path=st.sampled_from(["/v1/score", "/v2/models/shop/infer"]),
)
def test_random_bytes_are_never_our_fault(
    live: Live, body: bytes, media: str, encoding: str, path: str
):
    headers = {"content-type": media, "content-encoding": encoding}
    assert 400 <= live.post(path, content=body, headers=headers).status_code < 500


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["records", "amount", "items", "inputs", "name", "shape", "data", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, path=st.sampled_from(["/v1/score", "/v2/models/shop/infer"]))
def test_random_json_is_never_our_fault(live: Live, tree: Any, path: str):
    try:
        answer = live.post(path, json=tree)
    except ValueError:  # an infinite float has no JSON
        return
    assert answer.status_code < 500


def test_the_service_keeps_to_its_openapi_document(artifact_path: Path):
    schemathesis = pytest.importorskip("schemathesis")
    # which columns a record has is the artifact's, not the document's
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    with serving(artifact_path) as live:
        document = schemathesis.openapi.from_url(live.url + "/openapi.json")
        calls = 0
        for operation in document.get_all_operations():
            strategy = operation.ok().as_strategy()

            @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=strategy)
            def check(case: Any) -> None:
                nonlocal calls
                calls += 1
                answer = case.call(base_url=live.url, timeout=30)
                case.validate_response(answer, excluded_checks=[positive_data_acceptance])

            check()
        assert calls > 50
        assert live.get("/readyz").status_code == 200


def test_the_document_names_every_body_that_the_service_reads_and_writes(live: Live):
    document = live.get("/openapi.json").json()
    score = document["paths"]["/v1/score"]["post"]
    kinds = {"application/json", "application/x-ndjson", "text/csv"}
    assert score["requestBody"]["content"].keys() == kinds
    assert score["responses"]["200"]["content"].keys() == kinds
    for path in ("/v1/score", "/v2/models/{model}/infer"):
        named = {p["name"]: p for p in document["paths"][path]["post"]["parameters"]}
        assert named["Content-Encoding"]["schema"]["enum"] == ["gzip", "identity"]


def test_the_window_holds_ten_thousand_records_however_large_requests_are(segmented_path: Path):
    with serving(segmented_path) as live:

        def window_after(requests: int, records: int) -> float:
            csv = make_frame(records, seed=1).drop("order").write_csv()
            for _ in range(requests):
                answer = live.post("/v1/score", content=csv, headers={"content-type": "text/csv"})
                assert answer.status_code == 200
                live.get("/metrics")  # which counts the request by itself
            return live.value("vaewatch_window_records")

        assert window_after(5, 5_000) == 10_000
        assert 9_000 <= window_after(20, 300) < 9_000 + 5_000
        assert 9_000 <= window_after(20, 300) < 9_000 + 1_300
        assert window_after(1, 10_000) < 9_000 + 10_000
        assert window_after(1, 10_000) == 10_000


def test_drift_and_the_alarm_budget_are_seen(artifact_path: Path):
    with serving(artifact_path) as live:
        same = make_frame(900, seed=1).drop("order").to_dicts()
        live.post("/v1/score", json={"records": same})
        assert live.value("vaewatch_window_records") == 900
        assert live.value("vaewatch_column_drift_psi", column="country") < 0.1
        assert 0.2 < live.value("vaewatch_alpha_ratio") < 3
        calm = live.value("vaewatch_exchangeability_log10")
        moved = [{**r, "country": "DE", "amount": r["amount"] + 60, "age": None} for r in same]
        for record in moved[:100]:
            record["country"] = "XX"
        live.post("/v1/score", json={"records": moved})
        assert live.value("vaewatch_column_drift_psi", column="country") > 0.25
        assert live.value("vaewatch_exchangeability_log10") > max(2.0, calm)
        assert live.value("vaewatch_column_unknown_total", column="country") == 100
        missing = sum(r["age"] is None for r in same)
        assert live.value("vaewatch_column_missing_total", column="age") == 900 + missing
        assert live.value("vaewatch_column_top_reason_total") > 100
        ranges = [r["amount"] for r in make_frame(800).to_dicts()]
        outside = sum(not min(ranges) <= r["amount"] <= max(ranges) for r in same + moved)
        assert live.value("vaewatch_column_out_of_range_total", column="amount") == outside


def test_batches_cost_few_calls(monkeypatch: pytest.MonkeyPatch):
    from vaewatch.service.watch.metrics import BatchHistogram, Metrics

    metrics = Metrics()
    calls = 0
    original = BatchHistogram.observe

    def counted(self: Any, *words: Any) -> None:
        nonlocal calls
        calls += 1
        original(self, *words)

    monkeypatch.setattr(BatchHistogram, "observe", counted)
    values = np.random.default_rng(0).gamma(1, 1, 1000)
    metrics.severity.observe_many(values)
    assert calls == 0
    page = metrics.page().decode()
    for le in ("0.25", "1.0", "2.0"):
        want = float((values <= float(le)).sum())
        assert f'vaewatch_severity_bucket{{le="{le}"}} {want}' in page
    assert "vaewatch_severity_count 1000.0" in page
