"""`vaewatch score --incidents` and `replay --incidents`: one rule, however the work is split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import call, make_frame
from vaewatch.batch import journal as journals
from vaewatch.batch import writer
from vaewatch.batch.job import Job
from vaewatch.batch.pipeline import run, run_here
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.files import chunks
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

SMALL = {"steps": 60, "width": 16, "members": 4, "served": 2}
BURST = range(1500, 1530)


def timed(n: int, seed: int) -> pl.DataFrame:
    """Two orders a second."""
    start = np.datetime64("2026-03-01T00:00:00")
    moments = start + (np.arange(n) * 500).astype("timedelta64[ms]")
    stamps = pl.Series("at", np.datetime_as_string(moments))
    return make_frame(n, seed).insert_column(0, stamps)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("incidents")
    timed(2000, 0).write_csv(folder / "fit.csv")
    options: dict[str, Any] = {"time": "at", "calendar": "none", "id": "order", **SMALL}
    train([folder / "fit.csv"], folder / "artifact", alpha=0.02, report=False, **options)
    return folder / "artifact"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Normal orders, and a burst of some that cost far too much."""
    frame = timed(3000, 1)
    odd = pl.Series([i in BURST for i in range(len(frame))])
    amount = pl.when(odd).then(frame["amount"] + 900.0).otherwise(frame["amount"]).alias("amount")
    path = tmp_path_factory.mktemp("source") / "new.csv"
    frame.with_columns(amount).write_csv(path)
    return path


def incidents_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_burst_is_one_incident_that_chance_does_not_explain(
    artifact: Path, source: Path, tmp_path: Path
):
    out = tmp_path / "incidents.ndjson"
    options = ["--merge-gap", "10s", "--progress", "none", "--summary", tmp_path / "s.json"]
    options += ["--metrics-file", tmp_path / "job.prom"]
    done = call(
        "score", artifact, source, "--out", tmp_path / "o.csv", "--incidents", out, *options
    )
    assert done.returncode == 0, done.stderr
    found = incidents_in(out)
    (burst,) = [one for one in found if one["chance"] <= 0.01]
    assert burst["alarms"] >= len(BURST)
    assert burst["first"] <= "2026-03-01T00:12:30Z" and burst["last"] >= "2026-03-01T00:12:44.5"
    assert burst["columns"][0]["name"] == "amount" and burst["columns"][0]["above"] > 0.9
    assert burst["group"] == {"kind": "all", "name": ""} and burst["merged"] == []
    assert {each["record"] for each in burst["examples"]} <= {f"o{i}" for i in BURST}
    alarms = sum(one["alarms"] for one in found)
    summary = json.loads((tmp_path / "s.json").read_text())
    assert alarms == summary["anomalies"] == summary["incidents"]["alarms"]
    metrics = {
        family.name.removeprefix("vaewatch_batch_incidents_"): family.samples[0].value
        for family in text_string_to_metric_families((tmp_path / "job.prom").read_text())
        if family.name.startswith("vaewatch_batch_incidents_")
    }
    assert metrics == {
        "written": len(found),
        "written_alarms": alarms,
        "rare": 1,
        "rare_alarms": burst["alarms"],
    }
    assert f"{len(found)} incidents: 1, with {burst['alarms']} of the" in done.stderr


def test_replay_finds_the_same_incidents(artifact: Path, source: Path, tmp_path: Path):
    scored, replayed = tmp_path / "scored.csv", tmp_path / "replayed.csv"
    call("score", artifact, source, "--out", tmp_path / "o.csv", "--incidents", scored, "--quiet")
    done = call("replay", artifact, source, "--incidents", replayed, "--json")
    assert done.returncode == 0, done.stderr
    assert scored.read_bytes() == replayed.read_bytes()
    found = json.loads(done.stdout)["incidents"]
    assert found["incidents"] == len(pl.read_csv(scored))


def test_chunks_order_and_explanations_make_no_difference(
    artifact: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scorer = Scorer.load(artifact)
    whole = Job((str(source),), str(tmp_path / "o.csv"), incidents=str(tmp_path / "a.ndjson"))
    run(scorer, whole)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5000)
    for name, more in {"b": {"threads": 2}, "c": {"explain": 0}, "d": {"explain": 1}}.items():
        run(scorer, replace(whole, incidents=str(tmp_path / f"{name}.ndjson"), **more))
    pl.read_csv(source).sample(fraction=1.0, shuffle=True, seed=1).write_csv(tmp_path / "mixed")
    mixed = tmp_path / "mixed.csv"
    (tmp_path / "mixed").rename(mixed)
    run(scorer, replace(whole, sources=(str(mixed),), incidents=str(tmp_path / "e.ndjson")))
    first = incidents_in(tmp_path / "a.ndjson")
    for name in "bcd":
        assert incidents_in(tmp_path / f"{name}.ndjson") == first
    told = ("id", "first", "last", "alarms", "columns", "examples")
    for one, other in zip(incidents_in(tmp_path / "e.ndjson"), first, strict=True):
        assert [one[name] for name in told] == [other[name] for name in told]


def test_a_job_that_is_resumed_writes_the_same_incidents(
    artifact: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 5000)
    monkeypatch.setattr(journals, "SECONDS", 0.0)
    scorer, out = Scorer.load(artifact), tmp_path / "o.csv"
    job = Job((str(source),), str(out), incidents=str(tmp_path / "a.ndjson"))
    run(scorer, job)
    wanted = (tmp_path / "a.ndjson").read_bytes()
    (tmp_path / "a.ndjson").unlink()
    seen = 0

    class Killed(BaseException): ...

    def dies(given: Any, stage: Any) -> Any:
        nonlocal seen
        for one in run_here(given, stage):
            seen += 1
            if seen == 20:
                raise Killed
            yield one

    with pytest.raises(Killed):
        run(scorer, job, engine=dies)
    assert not (tmp_path / "a.ndjson").exists()
    counts = run(scorer, replace(job, resume=True))
    assert (tmp_path / "a.ndjson").read_bytes() == wanted
    assert counts.incidents is not None and counts.incidents.incidents == wanted.count(b"\n")


@pytest.mark.parametrize("to", ["ndjson.gz", "csv", "parquet"])
def test_a_job_that_was_killed_before_names_were_given_gives_them(
    artifact: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
):
    out, incidents = tmp_path / "o.csv", tmp_path / f"a.{to}"
    scorer, job = Scorer.load(artifact), Job((str(source),), str(out), incidents=str(incidents))
    run(scorer, job)
    wanted = [incidents.read_bytes(), out.read_bytes()]
    incidents.unlink()
    out.unlink()

    class Killed(BaseException): ...

    def dies(self: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(writer.ParquetOutput, "commit", dies)
        patched.setattr(writer.TextOutput, "commit", dies)
        run(scorer, job)
    assert not incidents.exists() and not out.exists()
    run(scorer, replace(job, resume=True))
    assert [incidents.read_bytes(), out.read_bytes()] == wanted
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_records_without_an_alarm_make_a_file_without_incidents(
    artifact: Path, source: Path, tmp_path: Path
):
    few = tmp_path / "few.csv"
    few.write_text("".join(source.read_text().splitlines(keepends=True)[:2]))
    for to in ("ndjson", "csv", "parquet"):
        run(Scorer.load(artifact), Job((str(few),), str(tmp_path / "o.csv"), alpha=0.004,
            incidents=str(tmp_path / f"a.{to}")))  # fmt: skip
    assert (tmp_path / "a.ndjson").read_bytes() == b""
    frames = [pl.read_csv(tmp_path / "a.csv"), pl.read_parquet(tmp_path / "a.parquet")]
    assert [len(frame) for frame in frames] == [0, 0]
    assert frames[0].columns == frames[1].columns and frames[0].columns[0] == "id"


def test_a_file_of_another_kind_or_a_gap_of_no_kind_is_refused(artifact: Path, source: Path):
    scorer = Scorer.load(artifact)
    with pytest.raises(SettingError, match=r"must be a file that ends in .ndjson, .csv or"):
        run(scorer, Job((str(source),), "-", incidents="incidents.txt"))
    with pytest.raises(SettingError, match="must be a time such as 90s, 5m or 2h, got '5'"):
        run(scorer, Job((str(source),), "-", incidents="incidents.csv", merge_gap="5"))


def test_evaluate_compares_incidents_with_labels(artifact: Path, source: Path, tmp_path: Path):
    frame = pl.read_csv(source, infer_schema=False).with_row_index()
    label = pl.when(pl.col("index").is_in(list(BURST))).then(pl.lit("1")).otherwise(pl.lit("0"))
    frame.with_columns(label.alias("fraud")).drop("index").write_csv(tmp_path / "labelled.csv")
    words = ("evaluate", artifact, tmp_path / "labelled.csv", "--label", "fraud", "--draws", "1")
    done = call(*words, "--merge-gap", "10s", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["incidents"]
    assert (found["labelled"], found["found"], found["rare"], found["split"]) == (1, 1, 1, 0)
    assert found["false"] == found["incidents"] - 1 and not found["false_rare"]
    shown = call(*words, "--merge-gap", "10s").stdout
    assert "1 found of 1 labelled, 1 by one that is rarer than 1 in 100" in shown
