"""What is odd about one record of a window: two values that never go together, for a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest

from vaewatch.scoring.scorer import Scorer
from vaewatch.training.odd.errors import ColumnErrors
from vaewatch.training.odd.scale import OddScale
from vaewatch.training.series.model import Scales, Views
from vaewatch.training.series.record import MOST_NUMBERS, RecordView
from vaewatch.training.train import train

HOUR = 3600


def weather(n: int, seed: int) -> pl.DataFrame:
    """Hours of a temperature and a dew point that follows it, with days and slow weather."""
    rng, hours = np.random.default_rng(seed), np.arange(n)
    slow = np.convolve(rng.normal(size=n + 99), np.ones(100) / 10, "valid")
    temp = 15 + 3 * slow + 5 * np.sin(hours * 2 * np.pi / 24) + 0.3 * rng.normal(size=n)
    dry = 6 + 3 * np.sin(hours * 2 * np.pi / 24) + 0.5 * rng.normal(size=n)
    ts = 1_767_225_600 + HOUR * (hours + 100_000 * seed)
    return pl.DataFrame({"ts": ts, "temp": temp, "dew": temp - dry, "wind": rng.gamma(2, 5, n)})


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out = tmp_path_factory.mktemp("weather") / "it"
    small = {"steps": 200, "width": 32, "members": 4, "served": 2, "report": False}
    train(weather(4000, 0), out, time="ts", window=24, alpha=0.01, **small)
    return Scorer.load(out)


def test_values_that_never_go_together_alarm_at_their_record(scorer: Scorer):
    frame, at = weather(3000, 1), np.arange(50, 3000, 250)  # so rare that none lasts
    swapped = np.isin(np.arange(3000), at)
    temp, dew = pl.col("temp"), pl.col("dew")
    frame = frame.with_columns(
        temp=pl.when(pl.Series(swapped)).then(dew).otherwise(temp),
        dew=pl.when(pl.Series(swapped)).then(temp).otherwise(dew),
    )
    verdicts = scorer.score(frame)
    assert verdicts.is_anomaly[at].all()
    assert {verdicts.reasons[i][0].column for i in at.tolist()} <= {"temp", "dew"}
    within = (np.arange(3000) - 50) % 250 < 24  # windows that hold one
    assert verdicts.is_anomaly[verdicts.judged & ~within].mean() < 0.02


def test_normal_records_alarm_as_seldom_as_asked_for(scorer: Scorer):
    verdicts = scorer.score(weather(3000, 2))
    low, high = scorer.artifact.manifest.calibration.rate_interval_95
    assert low <= verdicts.is_anomaly[verdicts.judged].mean() <= max(high, 0.02)


def operators(folder: Path) -> set[str]:
    return {node.op_type for node in onnx.load(folder / "network.onnx").graph.node}


def test_a_single_column_has_no_view_of_its_record(tmp_path: Path):
    """A value that is high is told by its course, or every peak of it would alarm."""
    small = {"steps": 20, "width": 8, "members": 4, "served": 2, "report": False}
    for name, columns in (("one", ["ts", "temp"]), ("two", ["ts", "temp", "dew"])):
        train(weather(600, 0)[columns], tmp_path / name, time="ts", window=24, alpha=0.05, **small)
    assert "Max" in operators(tmp_path / "two") and "Max" not in operators(tmp_path / "one")


def pairs(records: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 2, D): each record and the one before."""
    return np.stack([np.roll(records, 1, axis=0), records], axis=1).astype(np.float32)


def test_one_kept_record_leaves_the_distance_of_mahalanobis():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 3))
    view = RecordView.of(pairs(mixed), np.arange(3))
    new = rng.normal(size=(50, 3)).astype(np.float32)
    covariance = np.cov(mixed, rowvar=False)
    covariance += 0.02 * np.trace(covariance) / 3 * np.eye(3)
    apart = new[:, None].astype(np.float64) - view.pairs[:, 1]
    squared = np.einsum("nkd,de,nke->nk", apart, np.linalg.inv(covariance), apart)
    want = np.sqrt(np.sort(squared, axis=1)[:, :3]).mean(1)
    assert view.distance(new) == pytest.approx(want, rel=1e-3)


def test_axes_of_some_records_never_saw_the_others():
    rng = np.random.default_rng(1)
    records = rng.normal(size=(300, 2)).astype(np.float32)
    records[200:] *= 50
    kept = np.arange(300) < 200
    both = pairs(records)
    few, other = (RecordView.of(each, np.arange(2)) for each in (both, both[:200]))
    new = pairs(rng.normal(size=(20, 2)))
    assert np.array_equal(few.only(kept).measure(new), other.measure(new))


def test_the_cost_of_a_column_is_what_a_regression_by_all_others_leaves_of_it():
    """Beside a slower derivation: least squares by the other columns and the record before."""
    rng = np.random.default_rng(2)
    level = np.cumsum(rng.normal(size=5000)) / 20
    mixed = np.column_stack([level + rng.normal(size=5000), level, rng.normal(size=5000)])
    mixed = (mixed - mixed.mean(0)) / mixed.std(0)
    mixed[:, 0] += 0.5 * np.roll(mixed[:, 2], 1)
    both, new = pairs(mixed)[1:], pairs(rng.normal(size=(30, 3)))
    view = ColumnErrors.of(both, np.array([0, 0, 1]))  # the first column has two numbers
    flat, fresh = (each.reshape(len(each), -1).astype(np.float64) for each in (both, new))
    mean = flat.mean(0)
    flat, fresh = flat - mean, fresh - mean
    least = 0.01 * np.cov(flat, rowvar=False).diagonal().mean()
    costs = []
    for own in ([3, 4], [5]):
        others = np.setdiff1d(np.arange(6), own)
        moment = np.cov(flat, rowvar=False) + least * np.eye(6)
        slopes = np.linalg.solve(moment[np.ix_(others, others)], moment[np.ix_(others, own)])
        left = moment[np.ix_(own, own)] - moment[np.ix_(own, others)] @ slopes
        found = [each[:, own] - each[:, others] @ slopes for each in (flat, fresh)]
        fit, far = (0.5 * np.einsum("nk,kj,nj->n", e, np.linalg.inv(left), e) for e in found)
        usual = np.quantile(fit, 0.97)
        unit = max((fit[fit > usual] - usual).mean(), np.quantile(fit, 0.9))
        costs.append((far - usual) / unit)
    assert view.oddest(new) == pytest.approx(np.max(costs, axis=0), rel=1e-4)


def sensors(n: int, seed: int) -> pl.DataFrame:
    """Minutes of two sensors of one temperature, which vary with the load and with the day."""
    rng, minutes = np.random.default_rng(seed), np.arange(n)
    slow = np.convolve(rng.normal(size=n + 99), np.ones(100) / 10, "valid")
    load = 50 + 15 * np.sin(minutes * 2 * np.pi / 240) + 5 * slow + rng.normal(size=n)
    there = 20 + load / 2
    first, second = (there + 0.3 * rng.normal(size=n) for _ in range(2))
    ts = 1_767_225_600 + 60 * (minutes + 100_000 * seed)
    columns = {"ts": ts, "inlet": first, "outlet": second, "load": load}
    return pl.DataFrame(columns | {"flow": 0.1 * load + rng.normal(size=n)})


def test_one_of_two_sensors_that_is_off_for_a_record_alarms(tmp_path: Path):
    """By 3 degrees, of 15 that are usual: one of many records and of many columns."""
    small = {"steps": 100, "width": 32, "members": 4, "served": 2, "report": False}
    train(sensors(4000, 0), tmp_path / "it", time="ts", window=24, alpha=0.01, **small)
    frame, at = sensors(3000, 1), np.arange(50, 3000, 250)
    off = pl.Series(np.isin(np.arange(3000), at))
    moved = pl.when(off).then(pl.col("inlet") + 3).otherwise(pl.col("inlet"))
    verdicts = Scorer.load(tmp_path / "it").score(frame.with_columns(inlet=moved))
    assert verdicts.is_anomaly[at].mean() >= 0.9
    within = (np.arange(3000) - 50) % 250 < 24  # windows that hold one
    assert verdicts.is_anomaly[verdicts.judged & ~within].mean() < 0.02
    first = [verdicts.reasons[i][0].column for i in at.tolist() if verdicts.reasons[i]]
    assert first.count("inlet") >= 0.75 * len(at)


def test_a_record_is_worth_little_more_than_any_normal_window_by_all_else():
    """So what lasts for a window ranks above what is odd for a moment, however far out; and a
    column that is mended still lowers the score where another one is as odd.
    """
    rng = np.random.default_rng(3)
    found = Views(
        reconstruction=rng.exponential(size=2000),
        shapes=rng.exponential(size=(2, 2000)),
        course=rng.exponential(size=2000),
        record=rng.exponential(size=(2, 2000)),
    )
    scales = Scales.of(found, 10)

    def score(record: np.ndarray, scales: Scales) -> np.ndarray:
        views = replace(found, record=record)
        return scales.reconstruction_part(views) + scales.neighbour_part(views)

    top = score(found.record, replace(scales, record=())).max()
    far, farther = (score(np.full((2, 2000), size), scales) for size in (1e3, 1e6))
    height = scales.record[0].height
    assert (far > top).all() and (farther > far).all()
    assert (farther - top < 0.2 * height * np.log2(1 + 1e6 / 0.05)).all()


def test_a_wide_record_is_judged_by_its_distance_alone():
    rng = np.random.default_rng(4)
    few = rng.normal(size=(20, 2, MOST_NUMBERS + 1)).astype(np.float32)
    view = RecordView.of(few, np.arange(MOST_NUMBERS + 1))
    assert view.columns is None and view.measure(few).shape == (view.measures, 20) == (1, 20)


def test_an_odd_record_is_worth_an_alarm_and_a_usual_one_nothing():
    distances = np.arange(1, 10_001) / 10_000
    scale = OddScale.of(distances, np.linspace(0, 10, 10_000))
    assert scale.apply(np.array([0.3, 0.995])) == pytest.approx([0, 0], abs=0.01)
    assert (scale.apply(np.array([0.999, 1.0])) < 9.9 / 2).all()  # the least spread
    wide = OddScale.of(100 * distances, np.linspace(0, 10, 10_000))
    assert wide.apply(np.array([99.9])) == pytest.approx([9.9], rel=0.01)
    assert wide.apply(np.array([100.7])) == pytest.approx([9.9 * np.log2(4)], rel=0.02)
