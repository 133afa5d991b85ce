"""`vaewatch evaluate` of an artifact with a window: events, delays, false incidents, VUS-PR."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tests.batch.series import STEP, WINDOW, by_time, make_machines
from tests.conftest import call, make_frame
from vaewatch.commands.tables.evaluation import print_series
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.evaluate import evaluate
from vaewatch.training.records.labels import read_labels
from vaewatch.training.series.labelled.evaluate import SeriesEvaluation, evaluate_series
from vaewatch.training.series.labelled.vus import vus_pr

N = 1_000
EVENTS = ((0, 300, 320), (1, 500, 501), (1, 700, 740), (2, 2, 4))  # machine, first, past the last


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Machines with events: the last one is over before a window is full."""
    frame, label = make_machines(N, seed=7), np.zeros(3 * N, int)
    for machine, a, b in EVENTS:
        label[machine * N + a : machine * N + b] = 1
    odd = pl.Series(label) == 1
    return frame.with_columns(
        pressure=pl.when(odd).then(4.0).otherwise("pressure"), label=pl.Series(label)
    )


def found_in(scorer: Scorer, frame: pl.DataFrame, **options: float) -> SeriesEvaluation:
    return evaluate_series(scorer, frame, read_labels(frame, "label"), **options)


@pytest.fixture(scope="module")
def machines(machines_path: Path) -> Scorer:
    return Scorer.load(machines_path)


def test_events_are_found_and_what_is_false_is_counted(machines: Scorer, frame: pl.DataFrame):
    found, verdicts = found_in(machines, frame), machines.score(frame, explain=0)
    alarm, label = verdicts.is_anomaly.reshape(3, N), frame["label"].to_numpy().reshape(3, N)
    judged = verdicts.judged.reshape(3, N)
    assert (found.records, found.warming_up, found.repeated) == (3 * N, 3 * (WINDOW - 1), 0)
    assert found.judged == judged.sum() and found.anomalies == (label * judged).sum() == 61
    assert (found.events, found.events_unjudged) == (4, 0)  # a window of the last one holds it
    delays = []
    for machine, a, b in EVENTS:
        at = np.flatnonzero(alarm[machine, a : b + WINDOW - 1])
        delays += [int(at[0])] if len(at) else []
    assert found.found == len(delays) >= 3
    assert found.delay_records == np.median(delays)
    assert found.delay_seconds == np.median(delays) * STEP
    touched = np.zeros((3, N), bool)
    for machine, a, b in EVENTS:
        touched[machine, a : b + WINDOW - 1] = True
    clean = judged & ~touched
    assert found.normals == clean.sum() and found.false_alarms == (alarm & clean).sum() > 0
    assert found.false_alarm_rate == pytest.approx(found.false_alarms / found.normals)
    false = 0
    for own, near in zip(alarm, touched, strict=True):
        at = np.flatnonzero(own)
        for some in np.split(at, np.flatnonzero(np.diff(at) > WINDOW) + 1):
            false += len(some) > 0 and not near[some].any()
    assert found.false_incidents == false == sum(e.false_incidents for e in found.entities)
    days = found.normals * STEP / 86_400
    assert found.false_incidents_per_day == pytest.approx(false / days)
    told = machines.artifact.manifest.series
    assert told is not None
    assert found.false_incidents_per_day_foretold == told.incidents_per_day["0.05"]
    assert [each.entity for each in found.entities] == ["m0", "m1", "m2"]
    assert [each.events for each in found.entities] == [1, 2, 1]
    assert found.auroc is not None and found.auroc > 0.9
    volumes = [each.vus_pr for each in found.entities]
    assert found.vus_pr == pytest.approx(np.mean([v for v in volumes if v is not None]))


def test_the_order_of_the_file_changes_nothing(machines: Scorer, frame: pl.DataFrame):
    whole = found_in(machines, frame)
    assert found_in(machines, by_time(frame)) == whole
    assert found_in(machines, frame.sample(fraction=1.0, shuffle=True, seed=3)) == whole


def test_records_of_one_moment_are_counted_once(machines: Scorer, frame: pl.DataFrame):
    twice = pl.concat([frame, frame[500:510]])
    found = found_in(machines, twice)
    assert found.repeated == 10 and found.records == 3 * N + 10
    assert found.entities == found_in(machines, frame).entities


def test_an_event_that_no_window_holds_is_left_out(machines: Scorer, frame: pl.DataFrame):
    gone = frame.filter((pl.col("machine") != "m2") | (pl.col("ts") < frame["ts"][5]))
    found = found_in(machines, gone)
    assert (found.events, found.events_unjudged) == (3, 1)
    last = found.entities[-1]
    assert (last.judged, last.vus_pr, last.auroc) == (0, None, None)


def test_without_anomalies_only_what_is_false_is_known(machines: Scorer, frame: pl.DataFrame):
    found = found_in(machines, frame.with_columns(label=pl.lit(0)), alpha=0.1)
    assert (found.events, found.found, found.vus_pr, found.auroc) == (0, 0, None, None)
    assert found.delay_records is None and found.normals == found.judged
    assert found.budget_holds
    broken = frame.with_columns(label=pl.lit(0), pressure=pl.int_range(pl.len()) % 5)
    assert found_in(machines, broken).budget_holds is False


def test_many_alarms_that_only_a_wide_range_explains_are_not_called_a_budget_that_holds(
    machines: Scorer, frame: pl.DataFrame, capsys: pytest.CaptureFixture[str]
):
    found = found_in(machines, frame.with_columns(label=pl.lit(0)), alpha=0.1)
    wide: dict[str, Any] = {"expected_false_alarms": 33.0, "false_alarms_by_chance": (0, 397)}
    print_series(replace(found, **wide, false_alarms=40), "normal: 0")
    assert "alarm budget      holds at alpha 0.1: chance explains" in capsys.readouterr().out
    print_series(replace(found, **wide, false_alarms=353), "normal: 0")
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "alarm budget cannot be told at alpha 0.1: more alarms than expected, but too few" in said
    )


def test_the_command_prints_both_forms(machines_path: Path, frame: pl.DataFrame, tmp_path: Path):
    frame.write_csv(tmp_path / "in.csv")
    words = ("evaluate", machines_path, tmp_path / "in.csv")
    done = call(*words)
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "found of 4" in lines["events"] and "median from event start" in lines["delay"]
    assert f"buffers of 0 to {WINDOW} records" in lines["VUS-PR"]
    assert "foretold" in lines["false incidents"] and "by chance" in lines["false-alarm rate"]
    assert {"m0", "m1", "m2"} <= lines.keys()
    found = json.loads(call(*words, "--json", "--alpha", "0.02").stdout)
    assert found["alpha"] == 0.02 and len(found["entities"]) == 3
    assert found["normal_labels"] == ["0"] and found["anomaly_labels"] == ["1"]


def test_one_series_has_no_table(one_series_path: Path, frame: pl.DataFrame, tmp_path: Path):
    frame[:N].drop("machine").write_csv(tmp_path / "in.csv")
    done = call("evaluate", one_series_path, tmp_path / "in.csv")
    assert done.returncode == 0 and "entity  " not in done.stdout


def test_each_kind_of_artifact_has_its_own_measure(
    machines: Scorer, scorer: Scorer, frame: pl.DataFrame
):
    with pytest.raises(SettingError, match="on series"):
        evaluate(machines, frame, "label")
    shop = make_frame(50).with_columns(label=pl.int_range(pl.len()) % 2)
    with pytest.raises(SettingError, match="must have a window"):
        evaluate_series(scorer, shop, read_labels(shop, "label"))


def soft_shoulders(anomaly: NDArray[np.bool_], spans: list[list[int]], buffer: int) -> list[float]:
    soft = [0.0] * len(anomaly)
    for i in np.flatnonzero(~anomaly).tolist():
        for a, b in spans:
            d = a - i if i < a else i - b
            if d <= buffer // 2:
                soft[i] = min(1.0, soft[i] + (1 - d / buffer) ** 0.5)
    return soft


def joined(spans: list[list[int]], half: int) -> list[set[int]]:
    """The anomalies with their shoulders, of which those that meet are one."""
    out: list[set[int]] = []
    for a, b in spans:
        wide = set(range(a - half, b + half + 1))
        if out and out[-1] & wide:
            out[-1] |= wide
        else:
            out.append(wide)
    return out


def directly(anomaly: NDArray[np.bool_], score: NDArray[np.float64], longest: int) -> float:
    """The definition, one buffer, threshold and record after the other."""
    n, spans, areas = len(anomaly), list[list[int]](), []
    for i in np.flatnonzero(anomaly).tolist():
        if i and anomaly[i - 1]:
            spans[-1][1] = i
        else:
            spans.append([i, i])
    for buffer in range(longest + 1):
        soft, wide = soft_shoulders(anomaly, spans, buffer), joined(spans, buffer // 2)
        area, before = 0.0, 0.0
        for threshold in sorted(set(score.tolist()), reverse=True):
            hits = [i for i in range(n) if score[i] >= threshold]
            inside = sum(bool(anomaly[i]) for i in hits)
            shoulders = sum(soft[i] for i in hits)
            recall = min(1.0, (inside + shoulders) / (anomaly.sum() + shoulders / 2))
            recall *= sum(bool(each & set(hits)) for each in wide) / len(wide)
            area += (recall - before) * (inside + shoulders) / len(hits)
            before = recall
        areas.append(area)
    return float(np.mean(areas))


@pytest.mark.parametrize("seed", range(8))
def test_the_volume_is_that_of_its_definition(seed: int):
    rng = np.random.default_rng(seed)
    n = 60
    anomaly = np.zeros(n, bool)
    for start in rng.integers(0, n, 4).tolist():
        anomaly[start : start + int(rng.integers(1, 6))] = True
    score = np.round(rng.normal(size=n) + anomaly, 1)  # with ties
    for longest in (0, 1, 2, 7, 16):
        assert vus_pr(anomaly, score, longest) == pytest.approx(directly(anomaly, score, longest))


def test_the_volume_of_a_perfect_score_is_one_and_of_no_anomaly_none():
    anomaly = np.zeros(40, bool)
    anomaly[[3, 4, 39]] = True
    assert vus_pr(anomaly, anomaly.astype(float), 10) == pytest.approx(1.0)
    assert vus_pr(np.zeros(5, bool), np.arange(5.0), 3) is None
    late = np.roll(anomaly, 2).astype(float)
    assert (vus_pr(anomaly, late, 10) or 0) > (vus_pr(anomaly, late, 0) or 0)
