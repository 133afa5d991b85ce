"""How often the alerts wake somebody: never for chance, at once for an attack."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.alerts import QUIET_FOR, QUIET_LEAST, QUIET_SHARE, Scene, increase, simulate
from tests.conftest import SMALL, make_frame
from tests.deploy.prometheus import alerts, needs_prometheus, rules_by_name
from tests.deploy.simulated import Scrapes, ever_firing, firing, is_on
from vaewatch.batch.replay.alerts import ALERTS, FAST, SEVERE, Alert, Limit, Traffic
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.train import train

EACH = " * vaewatch:alike:max10m"  # of independent records; 1 without a window


def as_promql(limit: Limit) -> str:
    window = f"{limit.minutes}m" if limit.minutes < 60 else f"{limit.minutes // 60}h"
    names = {"allowed": "alarms_allowed", "severe": "records_severe"}
    what, of = (names.get(name, name) for name in (limit.what, limit.of))
    terms = [f"{limit.factor:g} * vaewatch:{of}:increase{window}"] if limit.factor else []
    terms += [f"{limit.more}{EACH}"] if limit.more else []
    return f"vaewatch:{what}:increase{window} > {' + '.join(terms)}"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_replay_and_the_rules_have_the_same_numbers(alert: Alert):
    rule = alerts()[alert.name]
    assert rule["labels"]["severity"] == alert.severity
    ways = [" and ".join(as_promql(limit) for limit in way) for way in alert.ways]
    # in PromQL, `and` binds more tightly than `or`
    assert " ".join(rule["expr"].split()) == " or ".join(ways)


def test_replay_and_the_rules_count_the_same_records_as_severe():
    severe = rules_by_name()["vaewatch:records_severe:increase1m"]
    assert f'vaewatch_severity_bucket{{le="{SEVERE}"}}' in severe["expr"]


def test_the_simulation_and_the_rules_have_the_same_numbers():
    quiet = alerts()["VaewatchTooQuiet"]
    assert " ".join(quiet["expr"].split()) == (
        f"vaewatch:alarms:increase6h < {QUIET_SHARE} * vaewatch:alarms_sure:increase6h "
        f"and vaewatch:alarms_sure:increase6h >= {QUIET_LEAST}{EACH}"
    )
    assert quiet["for"] == f"{QUIET_FOR}m"


@pytest.mark.parametrize(
    "scene", [Scene(0.01, 99, 1.0), Scene(0.05, 238, 10.0), Scene(0.001, 10_000, 100.0)], ids=str
)
def test_a_month_of_normal_traffic_has_less_than_one_page(scene: Scene):
    found = simulate(scene, days=30, deployments=3, seed=5)
    assert found.pages.mean() < 1


def test_the_simulation_sees_a_detector_that_breaks_its_promise():
    loud = simulate(Scene(0.01, 1000, 100.0, breach=10), days=1, deployments=3, seed=1)
    dead = simulate(Scene(0.01, 1000, 100.0, breach=0), days=1, deployments=3, seed=1)
    assert loud.fast.min() >= 1 and loud.quiet.max() == 0
    assert dead.fast.max() == 0 and dead.quiet.tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def large_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with a calibration large enough for severe records."""
    out = tmp_path_factory.mktemp("artifacts") / "large"
    train(make_frame(8000, seed=8), out, alpha=0.05, id="order", report=False, **SMALL)
    return out


def tables(scorer: Scorer, frame: pl.DataFrame, size: int) -> list[Table]:
    return [checked_table(scorer.artifact.schema, part) for part in frame.iter_slices(size)]


@needs_prometheus
@pytest.mark.parametrize("hours", [2, pytest.param(24, marks=pytest.mark.long)])
def test_a_day_of_normal_records_raises_no_alert(artifact_path: Path, tmp_path: Path, hours: int):
    scrapes, interval = Scrapes(artifact_path), 60
    frame = make_frame(hours * 3600, seed=77).drop("order")
    scrapes.take(tables(scrapes.scorer, frame, interval))
    scrapes.promtool(tmp_path, interval, [ever_firing(hours * 3600)])


def attacked(n: int, seed: int, share: float) -> pl.DataFrame:
    """Orders, of which the first are absurdly dear."""
    odd = pl.int_range(pl.len()) < n * share
    frame = make_frame(n, seed).drop("order")
    return frame.with_columns(pl.when(odd).then(1e6).otherwise("amount").alias("amount"))


@needs_prometheus
@pytest.mark.parametrize("rate", [1, 10])
def test_an_attack_pages_within_two_scrapes(large_path: Path, tmp_path: Path, rate: int):
    scrapes, interval, before = Scrapes(large_path), 15, 600
    quiet = make_frame(rate * before, seed=78).drop("order")
    frame = pl.concat([quiet, attacked(rate * 60, 79, share=1)])
    scrapes.take(tables(scrapes.scorer, frame, rate * interval))
    checks = [firing(before), is_on(before + 2 * interval, FAST.name)]
    scrapes.promtool(tmp_path, interval, checks)


@needs_prometheus
@pytest.mark.parametrize("rate", [1, 7])
def test_numpy_and_prometheus_agree_on_when_the_fast_alert_is_on(
    large_path: Path, tmp_path: Path, rate: int
):
    scrapes, rng = Scrapes(large_path), np.random.default_rng(3)
    shares = np.repeat(rng.choice([0.0, 0.7], 10, p=[0.6, 0.4]), 8)
    parts = [attacked(15 * rate, int(rng.integers(1 << 30)), share) for share in shares]
    scrapes.take(tables(scrapes.scorer, pl.concat(parts), 15 * rate))

    def counts(*patterns: str) -> np.ndarray:
        found = [
            v for name, v in scrapes.series.items() if any(re.match(p, name) for p in patterns)
        ]
        assert len(found) == len(patterns)
        return np.diff(np.array(found).sum(axis=0), prepend=0)

    upper = next(v for n, v in scrapes.series.items() if n.startswith("vaewatch_alpha_upper"))[0]
    records = counts(r'vaewatch_records_total.*"normal"', r'vaewatch_records_total.*"anomaly"')
    severe = records - counts(r'vaewatch_severity_bucket.*le="2\.5"')
    traffic = Traffic(records, counts("vaewatch_alarms_total"), upper * records, severe)
    on = FAST.on(traffic, increase)
    assert 5 < on.sum() < 75
    checks = [is_on(15 * i, FAST.name, bool(on[i])) for i in range(21, len(on))]
    scrapes.promtool(tmp_path, 15, checks)
