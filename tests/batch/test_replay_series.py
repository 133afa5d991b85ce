"""`vaewatch replay` of an artifact with a window: alarms and incidents, by machine and day."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.batch.series import WINDOW, by_time, make_machines
from tests.conftest import call
from vaewatch.batch.series.incidents import Alarms, IncidentSpans
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.incidents import incident_starts
from vaewatch.scoring.series.window import Window

N = 9_500  # a day and more than two hours


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    frame = make_machines(N, seed=4)
    jumps = pl.int_range(pl.len()) % 1_000 < 12
    return frame.with_columns(pressure=pl.when(jumps).then(3.0).otherwise("pressure"))


def test_alarms_and_incidents_are_counted_by_day(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    by_time(frame).write_csv(tmp_path / "in.csv")
    words = ("replay", machines_path, tmp_path / "in.csv", "--alphas", "0.05,0.02")
    found = json.loads(call(*words, "--json", "--threads", 2).stdout)
    assert found == json.loads(call(*words, "--json", "--threads", 1).stdout)
    scorer = Scorer.load(machines_path)
    window, told = scorer.artifact.window, scorer.artifact.manifest.series
    assert window is not None and told is not None
    judged = 3 * (N - WINDOW + 1)
    assert found["records"] == found["series"]["judged"] == judged
    assert found["series"]["warming_up"] == 3 * (WINDOW - 1)
    assert found["traffic_changed"] is None and found["outlook"] is None
    names, moments = frame["machine"].to_list(), frame["ts"].to_numpy() * 1_000_000
    for which, alpha in enumerate((0.05, 0.02)):
        at = np.flatnonzero(scorer.score(frame, alpha=alpha, explain=0).is_anomaly)
        starts = incident_starts([names[i] for i in at.tolist()], moments[at], window)
        one = found["alphas"][which]
        assert abs(one["alarms"] - len(at)) <= 2  # windows that are judged together round apart
        assert abs(one["incidents"]["incidents"] - starts.sum()) <= 2
        by_day = [day["incidents"] for day in found["series"]["incidents_by_day"][which]]
        assert sum(by_day) == one["incidents"]["incidents"] and len(by_day) == 2
        assert max(by_day) == one["incidents"]["daily_most"]
    assert found["alphas"][0]["incidents"]["foretold"] == told.incidents_per_day["0.05"]
    printed = call(*words).stdout
    assert f"warming up    {3 * (WINDOW - 1)}" in printed
    assert "takes records that do not overlap" in printed
    assert printed.count(" incidents on average") == 2 and "per entity and day" in printed


def test_another_time_and_files_without_full_windows_are_refused(
    machines_path: Path, frame: pl.DataFrame, tmp_path: Path
):
    frame[: WINDOW - 1].with_columns(at="ts").write_csv(tmp_path / "in.csv")
    done = call("replay", machines_path, tmp_path / "in.csv", "--time", "at")
    assert done.returncode == 2 and "--time must be the artifact's" in done.stderr
    done = call("replay", machines_path, tmp_path / "in.csv")
    assert done.returncode == 3
    assert f"at least {WINDOW} records without a gap" in done.stderr


def test_incidents_are_the_same_in_any_order_of_their_alarms():
    window, rng = Window(size=4, gap=100, step=10), np.random.default_rng(0)
    names = rng.choice(["a", "b", "c"], 300)
    moments = rng.integers(0, 20_000, 300)
    wanted = int(incident_starts(names.tolist(), moments, window).sum())
    assert 30 < wanted < 280
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(300)
        found, counted = IncidentSpans(window), 0
        for some in np.array_split(order, 5):
            counted += found.add(Alarms(tuple(names[some].tolist()), moments[some]))
        assert counted == wanted == len(found.starts())
