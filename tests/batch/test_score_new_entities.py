"""Entities that the model does not know, in files: whatever way they are scored, the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.batch.series import added
from tests.batch.test_score_series import same, score, score_in_steps
from tests.conftest import call
from tests.fleet import is_new, later
from vaewatch.scoring.scorer import Scorer


def read(path: Path) -> pl.DataFrame:
    """What scoring added, where many of the first records are warming up."""
    numbers = pl.col("anomaly_score", "p_value").cast(pl.Float64)
    return added(path).with_columns(numbers).sort("machine", "ts")


@pytest.mark.parametrize("words", [(), ("--sort",), ("--threads", 2)])
def test_files_get_the_verdicts_of_a_frame(
    fleet_path: Path, tmp_path: Path, words: tuple[object, ...]
):
    frame = later().sort("machine", "ts")
    frame.write_csv(tmp_path / "in.csv")
    score_in_steps(fleet_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv", *words)
    verdicts, found = Scorer.load(fleet_path).score(frame), read(tmp_path / "out.csv")
    assert found["history"].to_list() == list(verdicts.history or ())
    p_value = found["p_value"].to_numpy()
    np.testing.assert_allclose(p_value, verdicts.p_value, rtol=0.05, equal_nan=True)
    assert (found["history"].to_numpy()[is_new(frame)] != "full").all()


def test_shards_know_whom_they_do_not_know(fleet_path: Path, tmp_path: Path):
    later().write_csv(tmp_path / "in.csv")
    score(fleet_path, tmp_path / "in.csv", "--out", tmp_path / "whole.csv")
    parts = []
    for shard in ("0/2", "1/2"):
        out = tmp_path / f"{shard[0]}.csv"
        score(fleet_path, tmp_path / "in.csv", "--out", out, "--shard", shard)
        parts.append(read(out))
    assert same(pl.concat(parts).sort("machine", "ts"), read(tmp_path / "whole.csv"))


def test_the_last_line_the_summary_and_the_metrics_say_how_many(
    fleet_path: Path, plain_fleet_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    later().write_csv(tmp_path / "in.csv")
    for artifact, warned in ((fleet_path, False), (plain_fleet_path, True)):
        caplog.clear()
        given = tmp_path / "in.csv", "--out", tmp_path / f"{artifact.name}.csv"
        words = ("--summary", tmp_path / "s.json", "--metrics-file", tmp_path / "m.prom")
        done = score(artifact, *given, *words)
        n = int((added(tmp_path / f"{artifact.name}.csv")["history"] == "new_entity").sum())
        assert n > 500 and json.loads((tmp_path / "s.json").read_text())["series"]["new"] == n
        assert f" judged ({n:,} of new entities" in done.stderr
        series = re.search(
            r"^vaewatch_batch_records_of_new_entities{.*} (.+)$",
            (tmp_path / "m.prom").read_text(),
            re.M,
        )
        assert series is not None and float(series[1]) == n
        says = f"{n:,} of 3,180 judged records are of entities that are new to the model"
        assert (says in caplog.text) is warned


def test_replay_and_evaluate_say_so_too(fleet_path: Path, tmp_path: Path):
    later().with_columns(label=0).write_csv(tmp_path / "in.csv")
    found = json.loads(call("replay", fleet_path, tmp_path / "in.csv", "--json").stdout)
    n = found["series"]["new"]
    assert n > 500
    assert f"\nnew entities  {n:,}\n" in call("replay", fleet_path, tmp_path / "in.csv").stdout
    words = ("evaluate", fleet_path, tmp_path / "in.csv", "--label", "label")
    assert json.loads(call(*words, "--json").stdout)["new"] == n
    assert f" judged ({n:,} of new entities" in call(*words).stdout
