"""POST /v1/recalibrate of an artifact with a window: on blocks of neighbours, by any history."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.live import Live, serving, until
from tests.pumps import Records, W, pumps, trained
from tests.service.series.redis_server import RedisServer, needs_redis, redis_server
from tests.service.series.test_stateless import results
from vaewatch.scoring.disk.reading import read_artifact, read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.incidents import per_day

MACHINES, STEPS = 6, 1500
Json = dict[str, Any]


def moved(seed: int, by: float = 1.0, first: int = 700) -> pl.DataFrame:
    """Pumps whose gauges have become noisier by so much; alike at 1."""
    frame = pumps(STEPS, seed=seed, machines=MACHINES, first=first)
    rng = np.random.default_rng(seed + 100)
    noise = 0.1 * (by**2 - 1) ** 0.5 * rng.normal(size=(2, len(frame)))
    return frame.with_columns(
        pressure=pl.col("pressure") + pl.Series(noise[0]),
        flow=pl.col("flow") + pl.Series(noise[1]),
    )


def flooded(seed: int) -> pl.DataFrame:
    """The same pumps, of which one in nine windows' lengths is far out."""
    rows = moved(seed).with_row_index()
    at = (
        pl.col("index") // MACHINES // W + pl.col("machine").str.slice(1).cast(pl.Int64)
    ) % 9 == 0
    return rows.with_columns(
        pressure=pl.when(at).then(-pl.col("flow")).otherwise("pressure")
    ).drop("index")


def post(live: Live, rows: Records, query: str = "") -> list[Json]:
    found: list[Json] = []
    for start in range(0, len(rows), 1000):
        found += results(live, rows[start : start + 1000], query)
    return found


@pytest.fixture(scope="module")
def sure_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of enough records that a flood shows."""
    frame = pumps(STEPS, machines=MACHINES)
    return trained(tmp_path_factory.mktemp("sure"), frame=frame, name="pumps")


@pytest.fixture
def artifact(sure_path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sure_path, tmp_path / "pumps")


def rate(found: list[Json]) -> float:
    judged = [r for r in found if r["is_anomaly"] is not None]
    return float(np.mean([r["is_anomaly"] for r in judged]))


def test_a_drift_is_followed_and_put_back(artifact: Path):
    parent = read_manifest(artifact)
    with serving(artifact) as live:
        rows = moved(1, 1.5).to_dicts()
        post(live, rows)
        answer = live.post("/v1/recalibrate", json={"last": "1h"})
        assert answer.status_code == 200, answer.text
        proposal = answer.json()
        assert proposal["state"] == "proposed", proposal["refusals"]
        n = len(rows) - MACHINES * (W - 1)
        assert proposal["n"] == proposal["records"] == n
        assert 100 < proposal["blocks"] <= n // W
        low, high = proposal["rate_interval_95"]
        assert low < 0.05 < high and high - low > 0.01  # of blocks: of so many records .003
        before, after = proposal["before"], proposal["after"]
        assert before["rate"] > 0.08 and after["rate"] == pytest.approx(0.05, abs=0.001)
        assert before["incidents_per_day"] > after["incidents_per_day"] > 0

        path = f"/v1/recalibrate/{proposal['id']}"
        applied = live.post(f"{path}/apply").json()
        assert applied["state"] == "applied", applied
        child = read_manifest(artifact)
        assert child.parent == parent.version and child.calibration.n == n
        assert child.series is not None and parent.series is not None
        assert child.series.blocks == proposal["blocks"]
        assert child.series.incidents_per_day["0.05"] == pytest.approx(after["incidents_per_day"])
        assert child.calibration.rate_interval_95 == pytest.approx((low, high))
        peaks = read_artifact(artifact).incident_peaks
        assert peaks is not None and child.window is not None
        counted = per_day(len(peaks), n, child.window)
        assert counted == pytest.approx(after["incidents_per_day"])
        assert Scorer.load(artifact).artifact.version == applied["version"]  # verified

        later = moved(2, 1.5, first=700 + STEPS)
        assert rate(post(live, later.to_dicts())) == pytest.approx(0.05, abs=0.02)
        assert live.value("vaewatch_history_entities_dropped_total", cause="forgotten") == 0
        assert live.post(f"{path}/revert").json()["state"] == "reverted"
        assert live.get("/v1/model").json()["version"] == parent.version


def test_a_flood_is_refused(artifact: Path):
    with serving(artifact) as live:
        post(live, flooded(3).to_dicts())
        proposal = live.post("/v1/recalibrate").json()
        assert proposal["state"] == "refused", proposal
        assert {reason["code"] for reason in proposal["refusals"]} & {"severe", "far"}
        answer = live.post(f"/v1/recalibrate/{proposal['id']}/apply")
        assert answer.status_code == 409


def test_a_storm_within_quiet_traffic_is_a_burst(artifact: Path):
    frame = moved(4)
    rows = frame.to_dicts()
    storm = range(len(rows) - 300 * MACHINES, len(rows) - 150 * MACHINES)
    for i in storm:
        rows[i]["pressure"] = -rows[i]["flow"]
    with serving(artifact) as live:
        post(live, rows)
        proposal = live.post("/v1/recalibrate").json()
        assert proposal["state"] == "refused"


def test_normal_traffic_is_not_refused(artifact: Path):
    with serving(artifact) as live:
        post(live, moved(5).to_dicts())
        proposal = live.post("/v1/recalibrate").json()
        assert proposal["refusals"] == []
        assert any("little evidence" in text for text in proposal["warnings"])


def test_few_blocks_are_refused_though_records_are_many(artifact: Path):
    with serving(artifact) as live:
        post(live, moved(6).to_dicts()[:1200])
        proposal = live.post("/v1/recalibrate").json()
        few = [r["text"] for r in proposal["refusals"] if r["code"] == "few"]
        assert few and "independent blocks, got" in few[0]


def test_stateless_requests_that_overlap_count_each_record_once(artifact: Path):
    with serving(artifact, "--history", "stateless") as live:
        rows = moved(7).to_dicts()
        post(live, rows[:900])
        post(live, rows[600:1500])
        proposal = live.post("/v1/recalibrate").json()
        judged = 2 * (900 - MACHINES * (W - 1))
        assert proposal["records"] == judged
        assert proposal["n"] == judged - (300 - MACHINES * (W - 1))


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@needs_redis
def test_workers_with_redis_put_their_records_together(artifact: Path, redis: RedisServer):
    with serving(artifact, "--history", redis.url, "--workers", "2") as live:
        rows = moved(8, 1.3).to_dicts()
        post(live, rows)
        whole = len(rows) - MACHINES * (W - 1)
        found: list[Json] = []

        def proposed() -> bool:
            found.append(live.post("/v1/recalibrate").json())
            return bool(found[-1].get("n") == whole)

        until(proposed, 30)
        assert found[-1]["state"] == "proposed", found[-1]["refusals"]
        name = found[-1]["id"]
        assert live.post(f"/v1/recalibrate/{name}/apply").json()["state"] == "applied"


def test_an_artifact_trained_for_incidents_gets_the_alpha_that_brings_so_many(tmp_path: Path):
    frame = pumps(STEPS, machines=MACHINES)
    path = trained(tmp_path, frame=frame, name="pumps", incidents_per_day=30.0)
    with serving(path) as live:
        post(live, moved(9).to_dicts())
        proposal = live.post("/v1/recalibrate").json()
        assert proposal["after"]["incidents_per_day"] <= 30
        assert proposal["alpha"] != 0.01
        other = live.post("/v1/recalibrate", json={"alpha": 0.05}).json()
        assert other["alpha"] == 0.05
