"""Entities that the model does not know, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tests.fleet import is_new, later
from tests.live import serving
from tests.service.series.redis_server import needs_redis, redis_server
from tests.service.series.test_stateless import assert_like, results
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.service.model.model import load_model
from vaewatch.service.settings import Settings
from vaewatch.service.watch.metrics import Metrics
from vaewatch.service.watch.monitor import Monitor


def test_requests_that_share_a_batch_are_answered_as_they_would_be_alone(
    fleet_path: Path, fleet_scorer: Scorer
):
    rows = later(40).sort("machine", "ts").to_dicts()
    asked = [rows[start : start + 40] for start in range(0, len(rows), 40)]  # a machine each
    with serving(fleet_path, "--history", "stateless") as live:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda own: results(live, own), asked))
        for own, got in zip(asked, found, strict=True):
            assert_like(got, fleet_scorer.score(own))
        words = [result["history"] for got in found for result in got]
        for word in ("full", "new_entity", "lasting"):
            counted = live.value("vaewatch_history_records_total", history=word)
            assert counted == words.count(word)
        assert words.count("new_entity") > 300
        promise = live.get("/v1/model").json()["new_entities"]
        of_new = fleet_scorer.artifact.of_new
        assert of_new is not None and promise["n"] == len(of_new.scores)


def test_a_memory_of_entities_knows_who_is_new(fleet_path: Path, fleet_scorer: Scorer):
    rows = later(20).to_dicts()
    with serving(fleet_path) as live:
        found = [
            got for at in range(0, len(rows), 60) for got in results(live, rows[at : at + 60])
        ]
    assert_like(found, fleet_scorer.score(rows))


@needs_redis
def test_workers_that_share_histories_know_who_is_new(
    fleet_path: Path, fleet_scorer: Scorer, tmp_path: Path
):
    rows = later(20).to_dicts()
    with (
        redis_server(tmp_path) as redis,
        serving(fleet_path, "--history", redis.url, "--workers", "2") as live,
    ):
        found = [
            got for at in range(0, len(rows), 60) for got in results(live, rows[at : at + 60])
        ]
    assert_like(found, fleet_scorer.score(rows))


def test_what_another_calibration_judges_is_no_evidence_and_calibrates_nothing(
    fleet_path: Path, fleet_scorer: Scorer
):
    """Not even so many of them that it would tell: they are not as those that calibrate."""
    frame = later(200)
    model, monitor = load_model(fleet_path, Settings(fleet_path)), Monitor(Metrics())
    table = table_of(fleet_scorer.artifact.schema, frame.to_dicts())
    verdicts = fleet_scorer.score(frame)
    monitor.observe(model, table, verdicts)
    monitor.flush()
    own = verdicts.judged & ~is_new(frame)
    kept = np.concatenate(
        [np.frombuffer(page.scores, np.float32) for page in monitor.scores.mine(model.scale)]
    )
    np.testing.assert_allclose(np.sort(kept), np.sort(verdicts.score[own]), rtol=1e-6)
