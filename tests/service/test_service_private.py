"""Releases of uvicorn and prometheus-client without a private name that the service uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_frame
from tests.live import Live, serving, until

RECORDS = make_frame(30).drop("order").to_dicts()


@contextmanager
def without(
    package: str, file: str, name: str, artifact: Path, folder: Path, *options: str
) -> Iterator[Live]:
    """A service on a copy of a package in which all of one name is called otherwise."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    shutil.copytree(spec.submodule_search_locations[0], folder / package)
    path = folder / package / file
    text = path.read_text()
    assert name in text
    path.write_text(text.replace(name, f"{name}_renamed"))
    env = {"PYTHONPATH": str(folder)}
    with serving(artifact, *options, env=env) as live:
        yield live


def warnings_of(live: Live) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in live.lines if not line.startswith("listening")]
    return [line for line in lines if line["level"] in ("warning", "error")]


HTTPTOOLS = "protocols/http/httptools_impl.py"


@pytest.fixture(scope="module")
def expected(artifact_path: Path) -> list[tuple[int, Any]]:
    """The answers of a service on the packages as they are."""
    with serving(artifact_path) as usual:
        return answers(usual)


@pytest.mark.parametrize(
    ("file", "name", "missing"),
    [
        (HTTPTOOLS, "_start_asgi_task", "HttpToolsProtocol._start_asgi_task"),
        (HTTPTOOLS, "message_event", "RequestResponseCycle.message_event"),
        (HTTPTOOLS, "STATUS_LINE", "STATUS_LINE"),
    ],
)
def test_without_a_private_name_uvicorns_own_protocol_serves(
    artifact_path: Path,
    tmp_path: Path,
    expected: list[tuple[int, Any]],
    file: str,
    name: str,
    missing: str,
):
    with without("uvicorn", file, name, artifact_path, tmp_path) as live:
        assert answers(live) == expected
        assert live.value("vaewatch_records_total") == usual_records(expected)
        assert live.value("vaewatch_requests_in_progress") == 1  # the scrape itself
        assert live.stop() == 0
        (warning,) = warnings_of(live)
    assert warning["message"] == (
        f"this uvicorn has no {missing}: its own protocol serves, more slowly"
    )


def test_workers_warn_once_in_all(artifact_path: Path, tmp_path: Path):
    name, options = "_start_asgi_task", ("--workers", "2")
    with without("uvicorn", HTTPTOOLS, name, artifact_path, tmp_path, *options) as live:
        assert live.post("/v1/score", json={"records": RECORDS}).status_code == 200
        assert live.stop() == 0
        assert len(warnings_of(live)) == 1


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_without_a_private_name_values_are_counted_one_by_one(
    artifact_path: Path, tmp_path: Path, workers: str
):
    options = ("--workers", workers)
    with serving(artifact_path, *options) as usual:
        answers(usual)
        until(lambda: scored(usual) == 31)
        expected = observed(usual)
    file, name = "metrics.py", "_upper_bounds"
    with without("prometheus_client", file, name, artifact_path, tmp_path, *options) as live:
        answers(live)
        until(lambda: observed(live) == expected)
        assert live.stop() == 0
        (warning,) = warnings_of(live)
    assert warning["message"] == (
        "this prometheus-client has no Histogram._upper_bounds: values are counted one by one, "
        "more slowly"
    )


def test_without_a_private_name_the_files_of_counters_are_as_they_come(
    artifact_path: Path, tmp_path: Path
):
    name, options = "_capacity", ("--workers", "2")
    file = "mmap_dict.py"
    with without("prometheus_client", file, name, artifact_path, tmp_path, *options) as live:
        answers(live)
        until(lambda: scored(live) == 31)
        assert live.stop() == 0
        (warning,) = warnings_of(live)
    assert warning["message"] == (
        "this prometheus-client has no MmapedDict._capacity: a full temporary folder can end "
        "workers"
    )


def answers(live: Live) -> list[tuple[int, Any]]:
    """The status and body of good and bad requests, but for ids of requests."""
    bodies = [
        {"records": RECORDS},
        {"records": RECORDS[:1]},
        {"records": [{**RECORDS[0], "amount": "much"}]},
        {"rows": []},
    ]
    got = [live.post("/v1/score", json=body) for body in bodies]
    return [
        (answer.status_code, {k: v for k, v in answer.json().items() if k != "request_id"})
        for answer in got
    ]


def usual_records(expected: list[tuple[int, Any]]) -> int:
    """Scored and rejected ones."""
    return sum(len(body["results"]) for status, body in expected if status == 200) + 1


def scored(live: Live) -> float:
    """Records that have been counted; the other worker shares its counts once a second."""
    return live.value("vaewatch_severity_count")


def observed(live: Live) -> dict[Any, float]:
    """The histograms of scores, severities and sizes."""
    names = ("vaewatch_severity", "vaewatch_score", "vaewatch_records_per_request")
    return {
        key: round(value, 6) for key, value in live.series().items() if key[0].startswith(names)
    }
