"""`vaewatch recalibrate`: the weights stay, the budget is that of the new normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom

from tests.conftest import Done, call, make_frame
from vaewatch.scoring.artifact import NETWORK, WEIGHTS, read_manifest
from vaewatch.scoring.calibration import allowed_rank
from vaewatch.scoring.scorer import Scorer


def later(n: int, seed: int) -> pl.DataFrame:
    """The same shop in another period: amounts went up."""
    return make_frame(n, seed).with_columns(pl.col("amount") + 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recalibrate")


@pytest.fixture(scope="module")
def recent(folder: Path) -> Path:
    later(300, seed=5).write_csv(folder / "recent.csv")
    return folder / "recent.csv"


@pytest.fixture(scope="module")
def done(artifact_path: Path, recent: Path, folder: Path) -> Done:
    """Leaves `folder / "new"`."""
    return call("recalibrate", artifact_path, recent, "--out", folder / "new")


def test_weights_and_graph_stay_and_the_parent_is_named(
    done: Done, artifact_path: Path, folder: Path
):
    assert done.returncode == 0, done.stderr
    for name in (NETWORK, WEIGHTS):
        assert (folder / "new" / name).read_bytes() == (artifact_path / name).read_bytes()
    old, new = read_manifest(artifact_path), read_manifest(folder / "new")
    assert new.parent == old.version != new.version
    assert new.calibration.n == 300 and new.calibration.rule == "split"
    assert new.data_fingerprint == old.data_fingerprint != new.calibration_fingerprint
    assert f"parent       {old.version}" in call("inspect", folder / "new").stdout


def test_its_scores_are_the_parent_s_and_its_p_values_its_own(
    done: Done, scorer: Scorer, recent: Path, folder: Path
):
    new, fresh = Scorer.load(folder / "new"), later(50, seed=6).to_dicts()
    verdicts = new.score_records(fresh)
    np.testing.assert_array_equal(verdicts.score, scorer.score_records(fresh).score)
    calibrating = scorer.score_records(pl.read_csv(recent).to_dicts()).score
    counted = [(1 + (calibrating * (1 + 1e-5) >= s).sum()) / 301 for s in verdicts.score]
    np.testing.assert_allclose(verdicts.p_value, counted)


def test_a_broken_budget_is_brought_back(done: Done, scorer: Scorer, folder: Path):
    fresh = later(400, seed=7).to_dicts()
    k = allowed_rank(0.05, 300)
    law = betabinom(400, k, 301 - k)
    alarms = [
        int(s.score_records(fresh).is_anomaly.sum()) for s in (scorer, Scorer.load(folder / "new"))
    ]
    assert law.sf(alarms[0] - 1) < 1e-6
    assert law.cdf(alarms[1]) > 0.005 and law.sf(alarms[1] - 1) > 0.005


def test_it_says_the_rates_of_both_calibrations_on_both_sets(
    done: Done, scorer: Scorer, recent: Path, folder: Path
):
    records = pl.read_csv(recent).to_dicts()
    new = Scorer.load(folder / "new")
    old_scores, own = scorer.artifact.calibration.scores, new.artifact.calibration
    want = [
        np.mean(scorer.artifact.calibration.p_values(old_scores) <= 0.05),
        np.mean(own.p_values(old_scores) <= 0.05),
        scorer.score_records(records).is_anomaly.mean(),
        new.score_records(records).is_anomaly.mean(),
    ]
    lines = [line.split() for line in done.stdout.splitlines()]
    shown = [float(w) for words in lines if words[1] in ("scores", "normals") for w in words[2:4]]
    np.testing.assert_allclose(shown, want, rtol=1e-3)
    low, high = new.artifact.manifest.calibration.rate_interval_95
    assert f"the true rate lies in {low:.2g} to {high:.2g}" in done.stdout


def test_drift_is_measured_against_the_new_normals(done: Done, scorer: Scorer, folder: Path):
    new = Scorer.load(folder / "new").artifact
    assert new.drift.counts.sum(1).tolist() == [300] * len(new.schema.columns)
    amount = new.schema.numeric[0]
    assert amount.name == "amount"
    assert np.all(new.drift.edges[0] > scorer.artifact.drift.edges[0])


def test_an_alpha_that_the_normals_cannot_certify_is_refused(
    artifact_path: Path, recent: Path, tmp_path: Path
):
    out = tmp_path / "new"
    done = call("recalibrate", artifact_path, recent, "--out", out, "--alpha", 0.001)
    assert done.returncode == 3 and not out.exists()
    assert "alpha 0.001 takes at least 999 calibration records, got 300" in done.stderr


def test_the_records_of_the_training_run_are_refused(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    mixed_frame.write_parquet(tmp_path / "normal.parquet")
    done = call(
        "recalibrate", artifact_path, tmp_path / "normal.parquet", "--out", tmp_path / "new"
    )
    assert done.returncode == 3
    assert "must be records that the network was not fitted to" in done.stderr
