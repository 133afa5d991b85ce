"""How often the alerts wake somebody: never for chance, at once for an attack."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from batch.alerts import ALERTS, FAST, when_on
from benchmarks.alerts import QUIET_FOR, QUIET_LEAST, QUIET_SHARE, Scene, simulate
from scoring.frames import checked_table
from scoring.records import Table
from scoring.scorer import Scorer
from tests.conftest import make_frame
from tests.prometheus import alerts, needs_prometheus
from tests.simulated import Scrapes, ever_firing, firing


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_replay_and_the_rules_have_the_same_numbers(alert: object):
    rule = alerts()[alert.name]
    assert rule["labels"]["severity"] == alert.severity
    lines = []
    for limit in alert.limits:
        window = f"{limit.minutes}m" if limit.minutes < 60 else f"{limit.minutes // 60}h"
        line = (
            f"vaewatch:alarms:increase{window} > {limit.factor:g} * "
            f"vaewatch:alarms_allowed:increase{window}"
        )
        lines.append(line + (f" + {limit.more}" if limit.more else ""))
    joined = (" or " if alert.any else " and ").join(lines)
    assert " ".join(rule["expr"].split()) == joined


def test_the_simulation_and_the_rules_have_the_same_numbers():
    quiet = alerts()["VaewatchTooQuiet"]
    assert " ".join(quiet["expr"].split()) == (
        f"vaewatch:alarms:increase6h < {QUIET_SHARE} * vaewatch:alarms_sure:increase6h "
        f"and vaewatch:alarms_sure:increase6h >= {QUIET_LEAST}"
    )
    assert quiet["for"] == f"{QUIET_FOR}m"


@pytest.mark.parametrize(
    "scene", [Scene(0.01, 99, 1.0), Scene(0.05, 238, 10.0), Scene(0.001, 10_000, 100.0)], ids=str
)
def test_a_month_of_normal_traffic_has_less_than_one_page(scene: Scene):
    found = simulate(scene, days=30, deployments=3, seed=5)
    assert found.pages.mean() < 1


def test_the_simulation_sees_a_detector_that_breaks_its_promise():
    loud = simulate(Scene(0.01, 1000, 100.0, breach=6), days=1, deployments=3, seed=1)
    dead = simulate(Scene(0.01, 1000, 100.0, breach=0), days=1, deployments=3, seed=1)
    assert loud.fast.min() >= 1 and loud.quiet.max() == 0
    assert dead.fast.max() == 0 and dead.quiet.tolist() == [1, 1, 1]


def tables(scorer: Scorer, frame: pl.DataFrame, size: int) -> list[Table]:
    return [checked_table(scorer.artifact.schema, part) for part in frame.iter_slices(size)]


@needs_prometheus
@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.long)])
def test_a_day_of_normal_records_raises_no_alert(artifact_path: Path, tmp_path: Path, hours: int):
    scrapes, interval = Scrapes(artifact_path), 60
    frame = make_frame(hours * 3600, seed=77).drop("order")
    scrapes.take(tables(scrapes.scorer, frame, interval))
    scrapes.promtool(tmp_path, interval, [ever_firing(hours * 3600)])


@needs_prometheus
def test_an_attack_pages_within_two_scrapes(artifact_path: Path, tmp_path: Path):
    scrapes, interval, before = Scrapes(artifact_path), 15, 600
    frame = make_frame(10 * (before + 60), seed=78).drop("order")
    attacked = pl.int_range(pl.len()) >= 10 * before
    frame = frame.with_columns(pl.when(attacked).then(1e6).otherwise("amount").alias("amount"))
    scrapes.take(tables(scrapes.scorer, frame, 10 * interval))
    checks = [firing(before), firing(before + 2 * interval, FAST.name)]
    scrapes.promtool(tmp_path, interval, checks)


@needs_prometheus
def test_numpy_and_prometheus_agree_on_when_the_fast_alert_is_on(
    artifact_path: Path, tmp_path: Path
):
    scrapes, rng = Scrapes(artifact_path), np.random.default_rng(3)
    parts = []
    for share in np.repeat(rng.choice([0.0, 0.7], 10, p=[0.6, 0.4]), 8):
        odd = pl.int_range(pl.len()) < 100 * share
        frame = make_frame(100, int(rng.integers(1 << 30))).drop("order")
        parts.append(
            frame.with_columns(pl.when(odd).then(1e6).otherwise("amount").alias("amount"))
        )
    scrapes.take(tables(scrapes.scorer, pl.concat(parts), 100))

    def counts(pattern: str) -> np.ndarray:
        (found,) = (v for name, v in scrapes.series.items() if re.match(pattern, name))
        return np.diff(np.array(found), prepend=0)

    upper = next(v for n, v in scrapes.series.items() if n.startswith("vaewatch_alpha_upper"))[0]
    alarms = counts(r"vaewatch_alarms_total")
    records = counts(r'vaewatch_records_total.*"normal"') + counts(
        r'vaewatch_records_total.*"anomaly"'
    )
    on = when_on(FAST, alarms, upper * records, 4)
    assert 5 < on.sum() < 75
    expr = f'count(ALERTS{{alertname="{FAST.name}"}})'
    checks = [
        {
            "expr": expr,
            "eval_time": f"{15 * i}s",
            "exp_samples": [{"labels": "{}", "value": 1}] if on[i] else [],
        }
        for i in range(21, len(on))
    ]
    scrapes.promtool(tmp_path, 15, checks)
