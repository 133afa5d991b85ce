"""Records without a time that are of several groups, one after the other: what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import call

SAID = (
    "records that follow one another are alike in columns 'glucose', 'pulse', as those of one "
    "patient, machine or day are. Those that calibrate are drawn from among them, so that alpha "
    "is promised for further records of the same ones; of others more may alarm. Name their "
    "column with --entity COLUMN --calibrate entities, and whole ones calibrate; or a column of "
    "times with --time."
)


def measured(patients: int, seed: int = 0, each: int = 30) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(size=(patients, 2)), each, axis=0)
    of_each = own + rng.normal(scale=0.35, size=own.shape)
    columns = {"glucose": 90 + 12 * of_each[:, 0], "pulse": 70 + 9 * of_each[:, 1]}
    return (
        pl.DataFrame(columns)
        .with_columns(noise=rng.normal(size=len(own)))
        .with_columns(pl.all().round(1))
    )


def said(frame: pl.DataFrame, path: Path, *words: str) -> str:
    frame.write_csv(path)
    done = call("profile", path, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_and_profile_say_that_records_are_of_several(tmp_path: Path):
    assert f"glucose: groups: {SAID}\n" in said(measured(20), tmp_path / "in.csv")
    words = ("--steps", 30, "--no-report", "--quiet", "--alpha", 0.1)
    done = call("train", tmp_path / "in.csv", *words, "--out", tmp_path / "art")
    assert done.returncode == 0 and f"warning: {SAID}\n" in done.stderr


def test_what_is_said_is_so_and_a_recalibration_on_others_mends_it(tmp_path: Path):
    for name, patients, seed in (("in", 20, 0), ("some", 300, 1), ("new", 300, 2)):
        measured(patients, seed).write_csv(tmp_path / f"{name}.csv")
    art, words = tmp_path / "art", ("--alpha", 0.05, "--no-report", "--quiet", "--steps", 400)
    assert call("train", tmp_path / "in.csv", *words, "--out", art).returncode == 0
    again = ("--out", tmp_path / "again", "--accept-lost-detection")
    assert call("recalibrate", art, tmp_path / "some.csv", *again).returncode == 0
    rates = []
    for path in (art, tmp_path / "again"):
        out = tmp_path / f"{path.name}.csv"
        assert call("score", path, tmp_path / "new.csv", "--out", out).returncode == 0
        rates.append(pl.read_csv(out)["is_anomaly"].mean())
    assert rates[0] > 0.1 and abs(rates[1] - 0.05) < 0.02


@pytest.mark.parametrize("why", ["mixed", "sorted", "written out", "of a category", "few"])
def test_nothing_is_said_otherwise(tmp_path: Path, why: str):
    frame = measured(20)
    if why == "mixed":
        frame = frame.sample(fraction=1.0, shuffle=True, seed=0)
    elif why == "sorted":
        frame = frame.sort("glucose").select("glucose", "noise")
    elif why == "written out":
        frame = frame.gather(np.repeat(np.arange(0, 600, 5), 5))
    elif why == "of a category":
        frame = frame.with_columns(patient=pl.Series(np.repeat(list("abcdefghijklmnopqrst"), 30)))
    elif why == "few":
        frame = frame.head(400)
    assert "groups: records" not in said(frame, tmp_path / "in.csv")
