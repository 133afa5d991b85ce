"""An artifact with a window: each entity has incidents of its own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from tests.conftest import call
from tests.live import serving
from tests.pumps import Records, pumps, shared_pumps
from tests.service.incidents.conftest import incidents, post, wait_for_alarms


@pytest.fixture(scope="module")
def pumps_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_pumps(tmp_path_factory)


def odd_pumps() -> Records:
    """Thirty steps of three machines, whose last records are far out."""
    rows = pumps(30, seed=1, first=600).to_dicts()
    for row in rows[-3:]:
        row["pressure"] = 9.0
    return rows


def test_each_entity_has_incidents_of_its_own(pumps_path: Path):
    rows = odd_pumps()
    with serving(pumps_path) as live:
        answer = live.post("/v1/score", json={"records": rows}).json()["results"]
        odd = [row for row, result in zip(rows, answer, strict=True) if result["is_anomaly"]]
        wait_for_alarms(live, len(odd))
        found = incidents(live)
        assert {one["group"]["kind"] for one in found} == {"entity"}
        assert {one["group"]["name"] for one in found} == {row["machine"] for row in odd}
        assert sum(one["records"] for one in found) <= len(rows)
    assert_as_in_a_file(pumps_path, rows, found)


def assert_as_in_a_file(path: Path, rows: Records, found: list[dict[str, Any]]) -> None:
    """The incidents of a service, and how rare they are, are those of `score` and `replay`."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        pl.DataFrame(rows).write_csv(folder / "day.csv")
        out = folder / "scored.csv"
        for words in (
            ("score", path, folder / "day.csv", "--out", out),
            ("replay", path, folder / "day.csv"),
        ):
            lines = folder / f"{words[0]}.ndjson"
            done = call(*words, "--incidents", lines)
            assert done.returncode == 0, done.stderr
            wanted = {one["id"]: one for one in map(json.loads, lines.read_text().splitlines())}
            assert wanted.keys() == {one["id"] for one in found}
            for one in found:
                assert one["chance"] == pytest.approx(wanted[one["id"]]["chance"], rel=1e-3)
            assert min(one["chance"] for one in found) < 0.1


def test_requests_that_share_a_batch_keep_their_entities(pumps_path: Path):
    rows = odd_pumps()
    with serving(pumps_path, "--history", "stateless") as live:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: post(live, rows), range(6)))
        odd = live.post("/v1/score", json={"records": rows}).json()["results"]
        wait_for_alarms(live, 7 * sum(bool(result["is_anomaly"]) for result in odd))
        names = {one["group"]["name"] for one in incidents(live)}
        assert names and names <= {row["machine"] for row in rows}
