"""A machine that has changed for good, in files: whatever way they are scored, the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.batch.series import added, by_time, make_machines
from tests.batch.test_score_series import same, score, score_in_steps
from tests.conftest import call
from vaewatch.scoring.scorer import Scorer

N = 400


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """New records of three machines, of which one has another pressure from its middle on."""
    frame = make_machines(N, seed=1)
    odd = (pl.col("machine") == "m1") & (pl.int_range(pl.len()) >= N + 200)
    return frame.with_columns(pressure=pl.col("pressure") + pl.when(odd).then(3.0).otherwise(0.0))


@pytest.fixture(scope="module")
def ordered(
    machines_path: Path, frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> pl.DataFrame:
    """The verdicts on all records, one machine after the other."""
    folder = tmp_path_factory.mktemp("ordered")
    frame.write_csv(folder / "in.csv")
    score(machines_path, folder / "in.csv", "--out", folder / "out.csv")
    return added(folder / "out.csv")


def lasting(found: pl.DataFrame) -> pl.DataFrame:
    return found.filter(pl.col("history") == "lasting")


def test_a_change_that_lasts_does_not_alarm_for_ever(
    machines_path: Path, frame: pl.DataFrame, ordered: pl.DataFrame
):
    verdicts = Scorer.load(machines_path).score(frame)
    assert ordered["history"].to_list() == list(verdicts.history or ())
    judged = verdicts.judged
    assert (
        ordered["is_anomaly"].to_numpy()[judged].tolist() == verdicts.is_anomaly[judged].tolist()
    )
    found = lasting(ordered)
    assert len(found) > 100 and found["machine"].unique().to_list() == ["m1"]
    assert found["is_anomaly"].mean() < 0.2  # alpha is 0.05
    quiet = found.filter(~pl.col("is_anomaly"))
    assert (quiet["p_value"] > 0.05).all() and quiet["top_reasons"].null_count() == len(quiet)


@pytest.mark.parametrize(
    ("threads", "sort"),
    [
        (1, ()),
        (2, ("--sort",)),
        pytest.param(1, ("--sort",), marks=pytest.mark.long),
        pytest.param(2, (), marks=pytest.mark.long),
    ],
)
def test_chunks_and_threads_make_no_difference(
    machines_path: Path,
    frame: pl.DataFrame,
    ordered: pl.DataFrame,
    tmp_path: Path,
    sort: tuple[str, ...],
    threads: int,
):
    by_time(frame).write_csv(tmp_path / "in.csv")
    words = ("--out", tmp_path / "out.csv", "--threads", threads, *sort)
    score_in_steps(machines_path, tmp_path / "in.csv", *words)
    assert same(added(tmp_path / "out.csv").sort("machine", "ts"), ordered)


def test_records_that_are_sorted_first_get_the_verdicts_of_their_order(
    machines_path: Path, frame: pl.DataFrame, ordered: pl.DataFrame, tmp_path: Path
):
    frame.sample(fraction=1.0, shuffle=True, seed=2).write_csv(tmp_path / "in.csv")
    score(machines_path, tmp_path / "in.csv", "--sort", "--out", tmp_path / "out.csv")
    found = added(tmp_path / "out.csv").sort("machine", "ts")
    assert same(found, ordered)
    alarms = found["is_anomaly"].to_numpy(), ordered["is_anomaly"].to_numpy()
    assert np.array_equal(*alarms)
    assert found["top_reasons"].null_count() == ordered["top_reasons"].null_count()


def test_a_replay_counts_the_alarms_of_a_change_once_it_lasts_no_more(
    machines_path: Path, frame: pl.DataFrame, ordered: pl.DataFrame, tmp_path: Path
):
    by_time(frame).write_csv(tmp_path / "in.csv")
    found = json.loads(call("replay", machines_path, tmp_path / "in.csv", "--json").stdout)
    assert abs(found["alphas"][0]["alarms"] - int(ordered["is_anomaly"].sum())) <= 2
    assert abs(found["series"]["lasting"] - len(lasting(ordered))) <= 2
    text = call("replay", machines_path, tmp_path / "in.csv").stdout
    assert f"\nlasting       {found['series']['lasting']:,}\n" in text


def test_a_warning_the_last_line_and_the_metrics_say_what_lasts(
    machines_path: Path,
    frame: pl.DataFrame,
    ordered: pl.DataFrame,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    frame.write_csv(tmp_path / "in.csv")
    words = ("--out", tmp_path / "out.csv", "--summary", tmp_path / "s.json")
    done = score(machines_path, tmp_path / "in.csv", *words, "--metrics-file", tmp_path / "m.prom")
    n = len(lasting(ordered))
    assert f"{n:,} records came while the alarm of their entity lasted" in caplog.text
    assert json.loads((tmp_path / "s.json").read_text())["series"]["lasting"] == n
    assert f" judged ({n:,} while an alarm lasted), " in done.stderr
    series = re.search(
        r"^vaewatch_batch_records_lasting{.*} (.+)$", (tmp_path / "m.prom").read_text(), re.M
    )
    assert series is not None and float(series[1]) == n


def test_an_evaluation_says_what_lasts(
    machines_path: Path, frame: pl.DataFrame, ordered: pl.DataFrame, tmp_path: Path
):
    frame.with_columns(label=0).write_csv(tmp_path / "in.csv")
    words = ("evaluate", machines_path, tmp_path / "in.csv", "--label", "label")
    n = json.loads(call(*words, "--json").stdout)["lasting"]
    assert abs(n - len(lasting(ordered))) <= 2
    assert f" judged ({n:,} while an alarm lasted), " in call(*words).stdout
