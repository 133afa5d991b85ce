"""`vaewatch recalibrate --feedback` and `evaluate --feedback`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import call, make_frame
from tests.training.feedback.test_train_feedback import contrary, marks, odd, trained
from vaewatch.scoring.artifact import NETWORK, WEIGHTS
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.feedback.marks import read_marks
from vaewatch.training.recalibrate import Recalibration, recalibrate

NEWER = make_frame(600, seed=3).with_columns(order="n" + pl.col("order"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("renew")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return trained(folder / "old", make_frame(900))


@pytest.fixture(scope="module")
def alarms(scorer: Scorer) -> list[str]:
    return NEWER["order"].filter(pl.Series(scorer.score(NEWER).is_anomaly)).to_list()


def renewed(folder: Path, name: str, frame: pl.DataFrame, path: Path | None) -> Scorer:
    given = None if path is None else read_marks(path)
    recalibrate(folder / "old", frame, folder / name, Recalibration(overwrite=True, marks=given))
    return Scorer.load(folder / name)


@pytest.fixture(scope="module")
def many(folder: Path, alarms: list[str]) -> Scorer:
    """The scorer that learned its weights from the marks in many.csv."""
    confirmed = contrary(40)["order"].to_list()
    path = marks(folder / "many.csv", confirmed=confirmed, false_alarm=alarms[:20])
    return renewed(folder, "many", pl.concat([contrary(40), NEWER]), path)


def test_confirmed_records_do_not_calibrate_and_false_alarms_do(
    scorer: Scorer, alarms: list[str], folder: Path
):
    path = marks(folder / "few.csv", confirmed=["odd0", "odd1"], false_alarm=alarms[:10])
    new = renewed(folder, "few", pl.concat([odd(2), NEWER]), path)
    plain = renewed(folder, "without", NEWER, None)
    np.testing.assert_array_equal(
        new.artifact.calibration.scores, plain.artifact.calibration.scores
    )
    assert new.artifact.rule == scorer.artifact.rule
    found = new.artifact.manifest.feedback
    assert found is not None and (found.left_out, found.gain) == (2, None)


def test_adding_false_alarms_alone_would_raise_p_values_and_lose_alarms(
    scorer: Scorer, alarms: list[str], folder: Path
):
    """Why they stay at their weight: what marks give alone are high scores."""
    scores = scorer.score(NEWER).score
    false = scorer.score(NEWER.filter(pl.col("order").is_in(alarms))).score
    once = calibrate(scores, 0.05, "split")
    inflated = calibrate(np.concatenate([scores, *[false] * 3]), 0.05, "split")
    fresh = scorer.score(make_frame(2000, seed=8)).score
    before, after = (c.alarms(c.p_values(fresh)).mean() for c in (once, inflated))
    assert (inflated.p_values(fresh) >= once.p_values(fresh) * 0.999).mean() > 0.04
    assert after < 0.5 * before
    path = marks(folder / "false.csv", false_alarm=alarms)
    new = renewed(folder, "false", NEWER, path)
    np.testing.assert_allclose(new.score(make_frame(2000, seed=8)).p_value, once.p_values(fresh))


def test_taking_false_alarms_away_would_break_the_budget(scorer: Scorer, alarms: list[str]):
    kept = scorer.score(NEWER.filter(~pl.col("order").is_in(alarms))).score
    fresh = scorer.score(make_frame(2000, seed=8)).score
    without = calibrate(kept, 0.05, "split")
    assert without.alarms(without.p_values(fresh)).mean() > 0.075


def test_weights_are_learned_the_budget_holds_and_the_graph_stays(
    scorer: Scorer, many: Scorer, folder: Path
):
    found, rule = many.artifact.manifest.feedback, many.artifact.rule
    assert found is not None and found.gain and rule != scorer.artifact.rule
    assert rule.kl_weight == pytest.approx(scorer.artifact.rule.kl_weight * found.kl_factor)
    for name in (NETWORK, WEIGHTS):
        assert (folder / "many" / name).read_bytes() == (folder / "old" / name).read_bytes()
    alarm = many.score(make_frame(2000, seed=8)).is_anomaly.mean()
    low, high = many.artifact.manifest.calibration.rate_interval_95
    assert 0.7 * low < alarm < 1.3 * high
    own = np.sort(many.score(NEWER).score)
    np.testing.assert_allclose(many.artifact.calibration.scores, own, rtol=1e-5)


@pytest.mark.usefixtures("many")
def test_the_same_marks_again_change_nothing_more(folder: Path):
    """Factors are multiples of what a part weighs without feedback, not of what it weighs now."""
    path, frame = folder / "many.csv", pl.concat([contrary(40), NEWER])
    once = read_manifest(folder / "many")
    recalibrate(
        folder / "many",
        frame,
        folder / "twice",
        Recalibration(overwrite=True, marks=read_marks(path)),
    )
    twice = read_manifest(folder / "twice")
    assert once.feedback and twice.feedback
    assert twice.feedback.kl_factor == pytest.approx(once.feedback.kl_factor, rel=0.05)
    assert twice.score.neighbour_weight == pytest.approx(once.score.neighbour_weight, rel=0.05)
    assert call("inspect", folder / "twice").stdout.count("40 confirmed") == 1


@pytest.mark.usefixtures("many")
def test_without_feedback_the_weights_of_the_parent_stay(folder: Path):
    recalibrate(folder / "many", NEWER, folder / "child", Recalibration(overwrite=True))
    parent, child = read_manifest(folder / "many"), read_manifest(folder / "child")
    assert (child.score, child.feedback) == (parent.score, parent.feedback)


@pytest.mark.usefixtures("many")
def test_the_command_says_what_it_took(folder: Path):
    pl.concat([contrary(40), NEWER]).write_csv(folder / "newer.csv")
    words = ["--out", folder / "told", "--feedback", folder / "many.csv"]
    done = call("recalibrate", folder / "old", folder / "newer.csv", *words)
    assert done.returncode == 0, done.stderr
    assert "40 confirmed (40 records left out), 20 false alarms" in done.stdout
    assert "they foretell marks better by" in done.stdout


def test_evaluate_counts_what_people_marked(scorer: Scorer, folder: Path, alarms: list[str]):
    frame = pl.concat([contrary(40), NEWER])
    frame.write_csv(folder / "judged.csv")
    path = marks(
        folder / "judged-marks.csv",
        confirmed=[*contrary(40)["order"].to_list(), "elsewhere"],
        false_alarm=alarms[:6],
        expected=alarms[6:8],
    )
    words = ["evaluate", folder / "old", folder / "judged.csv", "--feedback", path]
    found = json.loads(call(*words, "--json").stdout)
    alarm = scorer.score(frame).is_anomaly
    assert found["confirmed"]["alarming"] == int(alarm[:40].sum())
    assert (found["confirmed"]["marks"], found["confirmed"]["found"]) == (41, 40)
    assert (found["false_alarms"]["alarming"], found["false_alarms"]["share"]) == (6, 1.0)
    low, high = found["false_alarms"]["interval"]
    assert low == pytest.approx(0.025 ** (1 / 6)) and high == 1.0
    assert found["unmarked"] == 600 - 8
    assert found["unmarked_alarms"] == int(alarm[40:].sum()) - 8
    shown = call(*words).stdout
    assert "6 of 6 marks still alarm: 1.00 (0.54 to 1.00, 95%)" in shown
    assert "1 more have no record here" in shown
    assert "41 of 47 marks that judge are confirmed: 0.87 (0.75 to 0.94, 95%)" in shown
    assert found["precision"]["all"]["confirmed"] == 41
    assert call(*words, "--label", "express").returncode == 2


def test_segments_are_calibrated_by_the_learned_weights(folder: Path):
    trained(folder / "segmented", make_frame(900), segment="country")
    old = Scorer.load(folder / "segmented")
    alarms = NEWER["order"].filter(pl.Series(old.score(NEWER).is_anomaly)).to_list()
    path = marks(
        folder / "by-country.csv",
        confirmed=contrary(40)["order"].to_list(),
        false_alarm=alarms[:20],
    )
    frame = pl.concat([contrary(40), NEWER])
    done = recalibrate(
        folder / "segmented", frame, folder / "segmented-2", Recalibration(marks=read_marks(path))
    )
    new = Scorer.load(folder / "segmented-2")
    assert done.heeded and new.artifact.rule != old.artifact.rule
    segments = new.artifact.segments
    assert segments is not None and segments.own
    for code, calibration in segments.own.items():
        own = NEWER.filter(pl.col("country") == segments.labels[code])
        want = np.sort(new.score(own).score)
        np.testing.assert_allclose(calibration.scores, want, rtol=1e-5)
