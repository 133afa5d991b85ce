"""`vaewatch recalibrate`: the weights stay, the budget is that of the new normals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import betabinom

from tests.conftest import SMALL, Done, call, make_frame
from vaewatch.scoring.artifact import NETWORK, WEIGHTS
from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.detection import column_chance
from vaewatch.training.recalibrate import Recalibration, recalibrate
from vaewatch.training.train import train


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
    assert f"the true rate lies between {low:.2g} and {high:.2g}" in done.stdout


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


def broken(n: int, seed: int) -> pl.DataFrame:
    """Normal records, they say, but every fifth has an amount that no threshold survives."""
    odd = pl.int_range(n) % 5 == 0
    return make_frame(n, seed).with_columns(
        pl.when(odd).then(pl.col("amount") * 40).otherwise(pl.col("amount"))
    )


def shown(done: Done, name: str) -> list[float]:
    """The figures of one line of a table."""
    line = next(line for line in done.stdout.splitlines() if line.startswith(name))
    return [float(word) for word in line.removeprefix(name).split()]


def test_it_says_how_much_higher_the_threshold_got(done: Done, scorer: Scorer, folder: Path):
    old, new = scorer.artifact.calibration, Scorer.load(folder / "new").artifact.calibration
    before, after = old.threshold(0.05), new.threshold(0.05)
    assert before and after
    own = float(old.p_values(np.array([after]))[0])
    line = next(x for x in done.stdout.splitlines() if x.startswith("threshold"))
    assert f"{before:.4g} -> {after:.4g} nats at alpha 0.05" in line
    assert f"{after / before:.3g} times as high: that of alpha {own:.2g} in the old" in line


def test_it_says_what_is_found_of_planted_anomalies(done: Done, tmp_path: Path):
    kinds = ("shuffled", "far", "missing", "unseen")
    figures = [shown(done, f"planted: {kind}") for kind in kinds]
    assert all(0 <= share <= 1 for pair in figures for share in pair)
    assert figures[3] == [1, 1]  # an unseen category costs more than any normal record scores
    assert figures[1][0] > figures[1][1] > 0.3  # moved normals hide some of the moved numbers


def test_it_finds_of_labelled_records_what_evaluate_finds(
    artifact_path: Path, recent: Path, tmp_path: Path
):
    odd = make_frame(50, seed=11).with_columns(amount=pl.lit(300.0), is_fraud=pl.lit("yes"))
    normal = later(50, seed=12).with_columns(is_fraud=pl.lit("no"))
    pl.concat([odd, normal]).write_csv(tmp_path / "labelled.csv")
    more = ("--labelled", tmp_path / "labelled.csv", "--label", "is_fraud")
    new = tmp_path / "new"
    done = call("recalibrate", artifact_path, recent, "--out", new, *more)
    assert done.returncode == 0, done.stderr
    rows = [
        json.loads(call("evaluate", path, *more[1:], "--json").stdout)
        for path in (artifact_path, new)
    ]
    for name, key in (("anomalies", "recall"), ("normals", "false_alarm_rate")):
        want = [row[key] for row in rows]
        np.testing.assert_allclose(shown(done, f"labelled {name}"), want, rtol=1e-3)


def test_nothing_is_written_where_anomalies_would_be_lost(artifact_path: Path, tmp_path: Path):
    broken(300, seed=5).write_csv(tmp_path / "recent.csv")
    words = ("recalibrate", artifact_path, tmp_path / "recent.csv", "--out", tmp_path / "new")
    done = call(*words)
    assert done.returncode == 3 and not (tmp_path / "new").exists() and not done.stdout
    assert "must still find anomalies, but it finds" in done.stderr
    assert f"vaewatch train OLD NEW --from {artifact_path}" in done.stderr
    forced = call(*words, "--accept-lost-detection")
    assert forced.returncode == 0 and "warning: half or less is found" in forced.stderr
    before, after = shown(forced, "planted: far")
    assert before > 0.8 and after < 0.3
    assert Scorer.load(tmp_path / "new").artifact.calibration.n == 300


def test_labelled_anomalies_that_are_lost_are_enough(
    artifact_path: Path, recent: Path, tmp_path: Path
):
    """An anomaly that the moved normals look like, and the planted ones do not."""
    odd = later(60, seed=13).with_columns(label=pl.lit(1))
    done = call("recalibrate", artifact_path, recent, "--out", tmp_path / "new")
    assert done.returncode == 0
    odd.write_csv(tmp_path / "odd.csv")
    labelled = ("--labelled", tmp_path / "odd.csv")
    done = call("recalibrate", artifact_path, recent, "--out", tmp_path / "newer", *labelled)
    assert done.returncode == 3 and "of the labelled anomalies, where" in done.stderr


def test_a_column_that_changed_bears_witness(scorer: Scorer):
    reference = scorer.artifact.drift
    chances = [
        column_chance(reference, checked_table(reference.schema, make_frame(150, seed)))
        for seed in range(40, 60)
    ]
    assert min(chances) > 0.005 and max(chances) > 0.5
    assert column_chance(reference, checked_table(reference.schema, later(60, seed=40))) < 1e-6


@pytest.fixture(scope="module")
def without_report(mixed_frame: pl.DataFrame, folder: Path) -> Path:
    """An artifact that is quick to recalibrate again and again."""
    settings: dict[str, Any] = {"alpha": 0.05, "id": "order", **SMALL}
    train(mixed_frame, folder / "without-report", report=False, **settings)
    return folder / "without-report"


@pytest.mark.parametrize("seed", range(20, 30))
def test_records_of_the_same_source_are_never_refused(
    seed: int, without_report: Path, tmp_path: Path
):
    """However few: a threshold that is too high by chance is worth a warning."""
    got = [
        recalibrate(without_report, make_frame(n, seed), tmp_path / f"{n}", Recalibration())
        for n in (20, 400)
    ]
    assert not any(new.detection.changed or new.detection.lost for new in got)
    assert got[1].detection.planted["far"].after > 0.7  # type: ignore[index]


def test_the_same_records_give_the_same_figures(
    artifact_path: Path, recent: Path, done: Done, tmp_path: Path
):
    new = recalibrate(artifact_path, pl.read_csv(recent), tmp_path / "new", Recalibration())
    for name, found in new.detection.anomalies.items():
        np.testing.assert_allclose(shown(done, name), [found.before, found.after], rtol=1e-3)


def test_another_alpha_is_compared_at_that_alpha(artifact_path: Path, tmp_path: Path):
    """What a smaller budget costs is not the fault of the records."""
    frame = make_frame(400, seed=14)
    new = recalibrate(artifact_path, frame, tmp_path / "new", Recalibration(alpha=0.2))
    found = new.detection
    assert found.alpha == 0.2 and not found.lowered
    assert abs(found.old_alpha - 0.2) < 0.08
