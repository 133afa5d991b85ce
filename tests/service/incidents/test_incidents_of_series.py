"""An artifact with a window: each entity has incidents of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live import serving
from tests.pumps import Records, pumps, trained
from tests.service.incidents.conftest import incidents, post, wait_for_alarms


@pytest.fixture(scope="module")
def pumps_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("series"))


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


def test_requests_that_share_a_batch_keep_their_entities(pumps_path: Path):
    rows = odd_pumps()
    with serving(pumps_path, "--history", "stateless") as live:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: post(live, rows), range(6)))
        odd = live.post("/v1/score", json={"records": rows}).json()["results"]
        wait_for_alarms(live, 7 * sum(bool(result["is_anomaly"]) for result in odd))
        names = {one["group"]["name"] for one in incidents(live)}
        assert names and names <= {row["machine"] for row in rows}
