"""`vaewatch.VAEDetector` is a scikit-learn estimator over the same code as the command line."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vaewatch
from tests.conftest import SMALL, make_frame
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.detector import VAEDetector, offset_of

TINY = {"steps": 10, "width": 8, "members": 4, "served": 2, "neighbours": 50}


# No check is expected to fail. alpha is 0.1 since some checks fit ten records, and ten records
# cannot certify less than 1 / 11.
@parametrize_with_checks([VAEDetector(alpha=0.1, **TINY)])
def test_scikit_learn_s_own_checks_pass(estimator: VAEDetector, check: object):
    check(estimator)


@pytest.fixture(scope="module")
def shop() -> pl.DataFrame:
    return make_frame(800).drop("order")


@pytest.fixture(scope="module")
def fitted(shop: pl.DataFrame) -> VAEDetector:
    return VAEDetector(alpha=0.05, **SMALL).fit(shop)


def test_it_scores_like_the_command_line(artifact_path: Path, fitted: VAEDetector):
    fresh = make_frame(60, seed=3).drop("order")
    verdicts = Scorer.load(artifact_path).score_records(fresh.to_dicts())
    np.testing.assert_allclose(-fitted.score_samples(fresh), verdicts.score, rtol=1e-5)
    np.testing.assert_array_equal(fitted.p_values(fresh), verdicts.p_value)
    np.testing.assert_array_equal(fitted.predict(fresh) == -1, verdicts.is_anomaly)


def test_it_takes_the_batch_and_the_learning_rate(shop: pl.DataFrame):
    detector = VAEDetector(alpha=0.05, batch=32, learning_rate=0.003, **TINY).fit(shop)
    training = detector.artifact_.manifest.training
    assert (training.batch, training.learning_rate) == (32, 0.003)


def test_higher_is_more_normal(fitted: VAEDetector):
    fresh = make_frame(60, seed=3).drop("order")
    odd = fresh.with_columns(pl.col("amount") + 1000)
    assert np.all(fitted.score_samples(odd) < fitted.score_samples(fresh))
    assert np.all(fitted.predict(odd) == -1)


def test_the_decision_changes_sign_where_the_verdict_does(fitted: VAEDetector):
    fresh = make_frame(300, seed=4).drop("order")
    shifted = fresh.with_columns(pl.col("amount") + pl.Series(np.linspace(0, 80, 300)))
    decision, verdict = fitted.decision_function(shifted), fitted.predict(shifted)
    np.testing.assert_array_equal(decision >= 0, verdict == 1)
    assert 0 < (verdict == -1).sum() < 300


def test_pandas_and_polars_frames_score_the_same(shop: pl.DataFrame, fitted: VAEDetector):
    fresh = make_frame(50, seed=5).drop("order")
    again = VAEDetector(alpha=0.05, **SMALL).fit(shop.to_pandas())
    assert again.feature_names_in_.tolist() == shop.columns and again.n_features_in_ == 7
    np.testing.assert_array_equal(
        again.score_samples(fresh.to_pandas()), fitted.score_samples(fresh)
    )


def test_it_survives_pickle_and_clone(fitted: VAEDetector):
    fresh = make_frame(50, seed=5).drop("order")
    want = fitted.score_samples(fresh)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).score_samples(fresh), want)
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "artifact_")


def test_fitting_again_forgets_the_first_fit():
    rng = np.random.default_rng(0)
    here, there = rng.normal(size=(100, 3)), rng.normal(loc=50, size=(100, 3))
    detector = VAEDetector(alpha=0.05, **TINY).fit(here)
    detector.predict(here)
    assert (detector.fit(there).predict(there) == 1).mean() > 0.8
    assert np.all(detector.predict(here) == -1)


def test_it_stands_in_a_pipeline():
    x = np.random.default_rng(0).normal(size=(100, 3))
    flow = make_pipeline(StandardScaler(), VAEDetector(alpha=0.05, **TINY)).fit(x)
    assert set(flow.predict(x)) <= {-1, 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.001}, "alpha 0.001 takes at least 999 calibration records, got 100"),
        ({"alpha": 0.0}, "alpha must be at least 1e-09 and below 1, got 0"),
        ({"model": "gan"}, "setting 'model' must be one of vae, ae, got 'gan'"),
    ],
)
def test_settings_that_cannot_be_are_value_errors(settings: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        VAEDetector(**{"alpha": 0.05, **TINY, **settings}).fit(np.ones((100, 3)))


def test_the_front_door_offers_it():
    assert vaewatch.VAEDetector is VAEDetector


def test_kinds_can_be_declared_as_in_training():
    frame = pd.DataFrame({"code": np.tile([1, 2, 3], 100), "x": np.arange(300) % 17})
    detector = VAEDetector(alpha=0.05, steps=20, kinds={"code": "categorical"})
    copy = pickle.loads(pickle.dumps(clone(detector).fit(frame)))
    assert copy.artifact_.schema.columns[0].kind == "categorical"
    assert copy.get_params()["kinds"] == {"code": "categorical"}
    with pytest.raises(ValueError, match="a kind must be one of"):
        detector.set_params(kinds={"code": "odd"}).fit(frame)


def test_a_fit_on_an_array_predicts_on_a_frame_and_the_reverse():
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(300, 2)), ["a", "b"]
    on_array = VAEDetector(alpha=0.05, steps=20).fit(x)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        got = on_array.score_samples(pd.DataFrame(x, columns=names))
    np.testing.assert_array_equal(got, on_array.score_samples(x))
    on_frame = VAEDetector(alpha=0.05, steps=20).fit(pd.DataFrame(x, columns=names))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        got = on_frame.score_samples(x)
    np.testing.assert_array_equal(got, on_frame.score_samples(pd.DataFrame(x, columns=names)))
    with pytest.raises(ValueError, match="feature names should match"):
        on_frame.predict(pd.DataFrame(x, columns=["a", "c"]))


def test_a_column_that_cannot_be_learned_is_a_value_error():
    frame = pd.DataFrame({"x": np.arange(300.0), "odd": [1j] * 300})
    with pytest.raises(ValueError, match="column 'odd' must hold numbers, texts or booleans"):
        VAEDetector(steps=20).fit(frame)


def test_a_name_that_steers_a_terminal_is_a_value_error_before_the_fit():
    frame = pl.DataFrame({"a\x1b[31m": range(100)})
    with pytest.raises(ValueError, match="no control characters"):
        VAEDetector(steps=10**9).fit(frame)


def test_a_lazy_frame_is_collected(shop: pl.DataFrame, fitted: VAEDetector):
    assert fitted.predict(shop.lazy()).tolist() == fitted.predict(shop).tolist()


def test_what_a_mask_hides_is_missing():
    rows = np.random.default_rng(0).normal(size=(100, 2))
    detector = VAEDetector(alpha=0.1, **SMALL).fit(rows)
    hidden = np.ma.masked_array([[0.0, 1e9]], mask=[[False, True]])
    missing = detector.score_samples([[0.0, np.nan]])
    assert detector.score_samples(hidden).tolist() == missing.tolist()


def test_a_child_that_was_forked_after_a_fit_warns_once():
    script = (
        "import os, warnings, numpy as np, vaewatch\n"
        "X = np.random.default_rng(0).normal(size=(300, 2))\n"
        "detector = vaewatch.VAEDetector(steps=20, members=3, served=1, alpha=0.1).fit(X)\n"
        "detector.predict(X)\n"
        "from vaewatch.training.vae.forked import warn_if_forked\n"
        "warn_if_forked()\n"
        "if os.fork() == 0:\n"
        "    warn_if_forked()\n"
        "    warn_if_forked()\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "0\n", done.stderr
    assert done.stderr.count("was forked after a fit") == 1


def test_a_score_that_ties_with_a_small_threshold_is_no_alarm():
    calibration = Calibration(np.linspace(0.1, 0.9, 499), 0.01, SPLIT)
    threshold = calibration.threshold(0.01)
    assert threshold is not None and threshold < 1
    for beyond, alarm in ((0.9e-5, False), (1.1e-5, True)):  # a tie is 1e-5 of a nat, at least
        score = threshold + beyond
        assert calibration.alarms(calibration.p_values(np.array([score]))).item() is alarm
        assert (-score - offset_of(calibration) < 0) is alarm
