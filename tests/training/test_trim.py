"""`--contamination-robust`: what is left out of the fit, and what still calibrates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call, make_frame
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.pipeline import fit
from vaewatch.training.records.read import read_frame
from vaewatch.training.split.trim import suspects

PLANTED = 20
SETTINGS = {**SMALL, "alpha": 0.05, "steps": 200, "width": 32}


@pytest.fixture(scope="module")
def contaminated() -> pl.DataFrame:
    """400 orders, and 20 at the end whose amounts are anywhere."""
    anywhere = pl.Series(np.random.default_rng(1).uniform(-500, 700, PLANTED))
    odd = make_frame(PLANTED, seed=1).with_columns(amount=anywhere)
    return pl.concat([make_frame(400), odd]).drop("order")


@pytest.fixture(scope="module")
def metrics(contaminated: pl.DataFrame) -> tuple[Manifest, Manifest]:
    plain, robust = (packed(contaminated, robust=robust) for robust in (False, True))
    return plain.manifest, robust.manifest


def packed(frame: pl.DataFrame, *, robust: bool) -> Package:
    learned = fit(frame, TrainConfig(**SETTINGS, contamination_robust=robust))
    return pack(learned, Origin("it", "", len(frame), 0.0))


def test_the_cut_is_the_median_and_its_deviation_of_the_logs():
    scores = np.exp(np.random.default_rng(0).normal(size=2000))
    scores[:20] *= np.exp(10)
    logs = np.log(scores)
    middle = np.median(logs)
    far = (logs - middle) / (1.4826 * np.median(np.abs(logs - middle))) > 2.5
    np.testing.assert_array_equal(suspects(scores), far)
    assert far[:20].all() and far[20:].mean() < 0.02


def test_at_most_a_tenth_is_suspect_and_it_is_the_worst():
    scores = np.concatenate([np.linspace(1, 1.01, 70), np.linspace(100, 200, 30)])
    found = np.flatnonzero(suspects(scores))
    assert found.tolist() == list(range(90, 100))


def test_equal_scores_are_not_suspect():
    assert not suspects(np.ones(100)).any()
    assert not suspects(np.zeros(100)).any()


def deviation_of(manifest: Manifest, wanted: str) -> float:
    """Of a numeric column's values."""
    rows = manifest.vectorizer.features
    return next(dev for column, code, _, dev, _ in rows if column == wanted and code is None)


def test_planted_records_are_not_fitted_to(metrics: tuple[Manifest, Manifest]):
    plain, robust = metrics
    scale = [deviation_of(manifest, "amount") for manifest in metrics]
    assert robust.metrics.trimmed_records >= PLANTED / 2
    assert scale[1] < 0.5 * scale[0]  # their amounts no longer widen the scale
    assert plain.metrics.trimmed_records == 0


def test_what_calibrates_is_never_trimmed(metrics: tuple[Manifest, Manifest]):
    for manifest in metrics:
        kept = manifest.metrics.fit_records + manifest.metrics.trimmed_records
        assert manifest.calibration.n == 60 and kept == 420 - 60


def test_too_few_to_hold_any_out_calibrate_with_what_was_trimmed(contaminated: pl.DataFrame):
    manifest = packed(contaminated.head(60), robust=True).manifest
    assert manifest.calibration.rule == "cross-fitted" and manifest.calibration.n == 60
    assert manifest.metrics.fit_records == 60 - manifest.metrics.trimmed_records < 60
    assert "not out of the calibration" in manifest.calibration.contamination


def test_normal_records_alarm_no_more_often_than_asked(contaminated: pl.DataFrame):
    package = packed(contaminated, robust=True)
    fresh = make_frame(1000, seed=2).drop("order").to_dicts()
    assert Scorer(package.artifact()).score_records(fresh).is_anomaly.mean() < 0.05


def test_the_command_says_how_many(contaminated: pl.DataFrame, tmp_path: Path):
    contaminated.write_csv(tmp_path / "normal.csv")
    assert len(read_frame(tmp_path / "normal.csv")) == 420
    words = [f"--{name}={value}" for name, value in SETTINGS.items()]
    done = call(
        "train",
        tmp_path / "normal.csv",
        "--out",
        tmp_path / "it",
        "--contamination-robust",
        "--no-report",
        *words,
    )
    assert done.returncode == 0, done.stderr
    count = json.loads((tmp_path / "it" / "manifest.json").read_text())["metrics"][
        "trimmed_records"
    ]
    assert f"trimmed       {count} records far out" in done.stdout
    assert "first fit: step" in done.stderr and "\nfit: step" in done.stderr
