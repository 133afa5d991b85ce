"""Incidents of windows: one rule counts them everywhere, and shards have those of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.batch.series import by_time, make_machines
from tests.conftest import call
from vaewatch.batch.job import Job
from vaewatch.batch.pipeline import run
from vaewatch.batch.ray import run_on_ray
from vaewatch.scoring.files import chunks
from vaewatch.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three machines, of which one has a bad time."""
    frame = by_time(make_machines(500, seed=3))
    bad = (pl.col("machine") == "m1") & pl.col("ts").rank("dense").is_between(200, 220)
    frame = frame.with_columns(pl.when(bad).then(9.0).otherwise("pressure").alias("pressure"))
    path = tmp_path_factory.mktemp("machines") / "in.csv"
    frame.write_csv(path)
    return path


def incidents_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_they_are_as_many_as_the_counts_of_series_say(
    machines_path: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4000)
    job = Job((str(source),), str(tmp_path / "o.csv"), incidents=str(tmp_path / "a.ndjson"))
    counts = run(Scorer.load(machines_path), job)
    found = incidents_in(tmp_path / "a.ndjson")
    assert counts.series is not None and counts.incidents is not None
    assert counts.series.incidents == counts.incidents.incidents == len(found)
    assert {one["group"]["kind"] for one in found} == {"entity"}
    (bad,) = [one for one in found if one["group"]["name"] == "m1" and one["alarms"] >= 20]
    assert bad["chance"] == min(one["chance"] for one in found)
    assert bad["columns"][0]["name"] == "pressure"


def test_shards_together_have_the_incidents_of_the_whole(
    machines_path: Path, source: Path, tmp_path: Path
):
    def incidents(*words: object) -> list[dict[str, Any]]:
        out = tmp_path / "some.ndjson"
        done = call("score", machines_path, source, "--out", tmp_path / "o.csv", "--quiet",
                    "--incidents", out, *words)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [{**one, "ongoing": None} for one in incidents_in(out)]

    whole = incidents()
    parts = [one for i in range(2) for one in incidents("--shard", f"{i}/2")]
    assert sorted(parts, key=lambda one: (one["first"], one["group"]["name"])) == whole
    assert incidents("--sort") == whole
    assert (
        call("replay", machines_path, source, "--incidents", tmp_path / "r.ndjson").returncode == 0
    )
    assert [{**one, "ongoing": None} for one in incidents_in(tmp_path / "r.ndjson")] == whole


def test_ray_finds_the_same(machines_path: Path, source: Path, tmp_path: Path):
    pytest.importorskip("ray")
    scorer, found = Scorer.load(machines_path), []
    for name, engine in {"here": None, "ray": run_on_ray}.items():
        target = tmp_path / f"{name}.ndjson"
        job = Job((str(source),), str(tmp_path / f"{name}.csv"), incidents=str(target), threads=2)
        run(scorer, job, **({} if engine is None else {"engine": engine}))
        found.append(target.read_bytes())
    assert found[0] == found[1] != b""
