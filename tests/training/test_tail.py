"""Columns that put the threshold out of reach are named at training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

import vaewatch
from tests.conftest import SMALL, call
from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.described import describe, words_of_passing
from vaewatch.training.tail import heavy_from
from vaewatch.training.train import train


def flags(n: int, rare: float, seed: int = 0) -> pl.DataFrame:
    """Thirty flags, each of which is rarely up."""
    rng = np.random.default_rng(seed)
    up = rng.random((n, 30)) < rare
    return pl.DataFrame(
        {"ms": rng.gamma(2.0, size=n), **{f"flag{i}": up[:, i] for i in range(30)}}
    )


def test_columns_with_rare_values_are_named_when_they_make_the_tail(tmp_path: Path):
    flags(4000, rare=0.0006).write_csv(tmp_path / "flags.csv")
    words = [*(f"--{name}={value}" for name, value in SMALL.items()), "--no-report"]
    done = call("train", tmp_path / "flags.csv", "--out", tmp_path / "it", "--alpha=0.01", *words)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "come from rare values in flag" in said and "--ignore" in said
    calibration = json.loads((tmp_path / "it" / "manifest.json").read_text())["calibration"]
    assert all(name.startswith("flag") for name in calibration["tail"])
    found = call("inspect", tmp_path / "it").stdout
    assert "tail" in found and "flag" in found


def test_columns_of_many_values_are_named_when_they_make_most_of_the_scores(tmp_path: Path):
    """Cities of all sizes: which one it is says nothing, but how rare it is makes the score."""
    rng = np.random.default_rng(0)
    for name, cities in (("many", 90), ("few", 5)):
        frame = pl.DataFrame(
            {
                "amount": rng.gamma(2.0, size=4000),
                "weight": rng.normal(size=4000),
                "city": [f"city {i}" for i in np.minimum(rng.geometric(3 / cities, 4000), cities)],
            }
        )
        scorer = train(frame, tmp_path / name, alpha=0.01, report=False, **SMALL)
        named = list(scorer.artifact.manifest.calibration.tail)
        assert named == (["city"] if name == "many" else [])


def test_no_tail_no_word(tmp_path: Path):
    scorer = train(flags(4000, rare=0.3), tmp_path / "it", alpha=0.01, report=False, **SMALL)
    assert scorer.artifact.manifest.calibration.tail == {}
    assert '"tail"' not in (tmp_path / "it" / "manifest.json").read_text()


def test_the_tail_begins_far_beyond_the_usual_threshold():
    scores = np.concatenate([np.linspace(1, 2, 950), np.full(50, 500.0) + np.arange(50)])
    least = heavy_from(Calibration(scores, 0.01, "split"))
    assert least is not None and 2 < least < 500
    assert heavy_from(Calibration(scores, 0.2, "split")) is None
    assert heavy_from(Calibration(scores[:15], 0.07, "split")) is None


def gaps_of_one(n: int, seed: int = 0) -> pl.DataFrame:
    """Records of which five lack a number that all others have, each another one."""
    rng = np.random.default_rng(seed)
    numbers = rng.gamma(2.0, size=(n, 6))
    numbers[np.arange(5) * 30, np.arange(5)] = np.nan
    columns = {f"c{i}": pl.Series(own).fill_nan(None) for i, own in enumerate(numbers.T)}
    return pl.DataFrame({"kind": rng.choice(["a", "b"], n), **columns})


def test_it_is_said_where_an_unseen_value_alone_does_not_alarm(tmp_path: Path):
    frame = gaps_of_one(200)
    frame.write_csv(tmp_path / "gaps.csv")
    words = [f"--{name}={value}" for name, value in SMALL.items()]
    done = call("train", tmp_path / "gaps.csv", "--out", tmp_path / "it", "--alpha=0.01", *words)
    assert done.returncode == 0, done.stderr
    said = "at alpha 0.01 a value that was never seen does not alarm by itself: it brings a usual"
    assert f"warning: {said}" in done.stderr and "Give more normal records, or ask" in done.stderr
    assert said in call("inspect", tmp_path / "it").stdout
    assert said in (tmp_path / "it" / "report.html").read_text()
    passes = json.loads((tmp_path / "it" / "manifest.json").read_text())["calibration"]
    found = passes["unseen_passes"]
    assert found["added"] >= 101 and found["p_value"] > 0.01

    scorer = vaewatch.load(tmp_path / "it")
    new = frame.drop_nulls().with_columns(kind=pl.lit("new"))
    assert scorer.score(new).is_anomaly.mean() <= 0.5
    enough = np.ceil(found["p_value"] * 1000) / 1000
    assert scorer.score(new, alpha=enough).is_anomaly.mean() > 0.5


def test_nothing_is_said_where_an_unseen_value_alarms():
    scores = np.concatenate([np.full(95, 10.0), [60.0, 70.0, 80.0, 90.0, 200.0]])
    few = describe(Calibration(scores, 0.01, "split"), unseen=50.0)
    assert few.unseen_passes is not None and few.unseen_passes.p_value == 6 / 101
    assert few.unseen_passes.threshold == few.thresholds["0.01"] == 200
    said = words_of_passing(few, 0.01)
    assert said is not None and said.endswith(
        "threshold is 200. Give more normal records, or ask for alpha 0.0595 or more."
    )
    assert describe(Calibration(scores, 0.06, "split"), unseen=50.0).unseen_passes is None
    assert describe(Calibration(scores, 0.01, "split"), unseen=190.1).unseen_passes is None
