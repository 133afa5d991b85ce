"""Records that are held out of everything, and the law of the rate that follows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from tests.conftest import SMALL, make_frame
from vaewatch.scoring.budget.calibration import CROSS_FITTED, allowed_rank
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.evaluate import evaluate
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin
from vaewatch.training.pipeline import fit
from vaewatch.training.split.split import calibration_size, split_records
from vaewatch.training.train import train

QUICK = TrainConfig(steps=60, width=16, members=4, alpha=0.05)


@given(st.integers(16, 300_000), st.sampled_from([0.5, 0.1, 0.05, 0.03, 0.01, 0.001]))
def test_the_records_held_out_certify_alpha_and_waste_none(n: int, alpha: float):
    size = calibration_size(n, alpha, columns=5)
    if not size:
        assert math.ceil(1 / alpha) > n / 4
        return
    k = allowed_rank(alpha, size)
    assert k >= 1 and allowed_rank(alpha, size - 2) < k  # fewer, and fewer could alarm
    assert k / (size + 1) >= alpha * (size - 1) / (size + 1)
    assert size <= max(n / 4, n - 20_000) and size <= 100_000
    assert size <= 20_000 or size <= (n - 20_000) / 2
    if n / 6 > math.ceil(1 / alpha) and n < 20_000:
        assert size <= n / 6


@pytest.mark.parametrize(
    ("n", "alpha", "size"),
    [
        (79, 0.05, 0),  # a quarter is not 20
        (80, 0.05, 20),  # just a quarter
        (400, 0.05, 60),  # a sixth: three may alarm
        (400, 0.03, 34),  # 66.7 would be a sixth, and two take 67
        (600, 0.05, 100),  # five may
        (8000, 0.05, 1000),  # an eighth
        (20_000, 0.001, 3000),
        (40_000, 0.001, 20_000),  # 20,000 are plenty to fit to
        (60_000, 0.001, 20_000),
        (100_000, 0.001, 40_000),  # as many are fitted to, beside the 20,000
        (250_000, 0.001, 95_000),  # for an interval within 20%
        (250_000, 0.0001, 100_000),
        (250_000, 0.05, 20_000),
    ],
)
def test_how_many_are_held_out(n: int, alpha: float, size: int):
    assert calibration_size(n, alpha, columns=5) == size
    split = split_records(n, 5, TrainConfig(alpha=alpha))
    assert len(split.held_out) == size and len(split.fit) == n - size
    assert not set(split.fit) & set(split.held_out)


def test_of_fewer_records_than_columns_up_to_half_are_held_out():
    """Their out-of-bag scores are lower than those of new records: 27% alarmed for 10%."""
    assert calibration_size(240, 0.01, columns=500) == 100
    assert calibration_size(240, 0.01, columns=240) == 0
    assert calibration_size(199, 0.01, columns=500) == 0


def test_nothing_is_learned_from_what_is_held_out():
    """Change the held-out records: everything but calibration and drift stays, bit for bit."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"x": rng.normal(size=300), "kind": rng.choice(["a", "b"], 300), "y": rng.normal(size=300)}
    )
    away = np.isin(np.arange(300), split_records(300, 3, QUICK).held_out)
    other = frame.with_columns(
        x=pl.Series(np.where(away, 50.0, frame["x"])),
        kind=pl.Series(np.where(away, "c", frame["kind"])),
        y=pl.Series(np.where(away, np.nan, frame["y"])).fill_nan(None),
    )
    a, b = fit(frame, QUICK), fit(other, QUICK)
    assert a.graph == b.graph and a.rule == b.rule
    assert a.vectorizer.to_json() == b.vectorizer.to_json()
    kind = next(c for c in b.table.schema.columns if c.name == "kind")
    assert set(kind.categories) == {"a", "b"}
    assert a.calibration.scores.max() < b.calibration.scores.min()


def test_a_column_that_only_held_out_records_have_is_unseen_elsewhere():
    x = np.random.default_rng(0).normal(size=(300, 2))
    away = split_records(300, 3, QUICK).held_out
    rare = [float(i) if i in set(away[:3].tolist()) else None for i in range(300)]
    learned = fit(pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "rare": rare}), QUICK)
    scores = learned.calibration.scores
    assert (scores > scores[0] + learned.rule.unseen / 2).sum() == 3


def scorer_of(frame: pl.DataFrame, config: TrainConfig) -> Scorer:
    return Scorer(pack(fit(frame, config), Origin("it", "", len(frame), 0.0)).artifact())


@pytest.mark.parametrize("kind", ["numbers", "categories", "geometric"])
@pytest.mark.parametrize("seed", range(4))
def test_with_few_distinct_records_the_budget_is_that_of_reachable_rates(kind: str, seed: int):
    rng = np.random.default_rng([seed, 7])
    if kind == "geometric":
        values = np.minimum(rng.geometric(0.5, (3000, 2)), 8)
    else:
        values = rng.integers(0, 3, (3000, 2))
    columns = {"a": values[:, 0], "b": values[:, 1]}
    frame = pl.DataFrame(columns)
    if kind == "categories":
        frame = frame.cast(pl.String)
    scorer = scorer_of(frame[:400], replace(QUICK, seed=seed))
    found = evaluate(scorer, frame[400:].with_columns(label=pl.lit("ok")), "label")
    low, high = found.rate_interval
    assert found.budget_holds, (found.false_alarm_rate, found.rate_interval)
    assert found.false_alarm_rate is not None and found.false_alarm_rate <= high + 0.02
    summary = scorer.artifact.manifest.calibration
    assert summary.rate_interval_95 == (low, high)
    if summary.reachable:
        rate, above = summary.reachable
        assert rate <= 0.05 < above + 0.01


def test_equal_records_have_equal_scores_in_calibration():
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({"a": rng.integers(0, 3, 400), "b": rng.integers(0, 3, 400)})
    learned = fit(frame, QUICK)
    tied = np.round(learned.calibration.scores, 3)
    assert len(np.unique(tied)) <= 9


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.02])
def test_the_false_alarms_of_many_splits_follow_the_law(alpha: float):
    """Rare categories, missing values, heavy tails: 60 splits of one source, at fit settings that
    leave the members very different.
    """
    p_values = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 1])
        n = 1500
        frame = pl.DataFrame(
            {
                "amount": np.exp(rng.normal(size=n) * 1.5),
                "kind": rng.zipf(1.7, n).clip(max=300).astype(str),
                "age": pl.Series(np.where(rng.random(n) < 0.02, np.nan, rng.normal(size=n))),
                "level": rng.integers(0, 4, n),
            }
        ).with_columns(pl.col("age").fill_nan(None))
        scorer = scorer_of(frame[:500], replace(QUICK, alpha=alpha, seed=seed))
        alarms = int(scorer.score(frame[500:], explain=0).is_anomaly.sum())
        c = scorer.artifact.calibration
        k = allowed_rank(alpha, c.n)
        law = betabinom(1000, k, c.n + 1 - k)
        p_values.append((law.cdf(alarms) + law.cdf(alarms - 1)) / 2)
    assert np.mean(np.array(p_values) < 0.005) <= 0.05
    assert np.mean(np.array(p_values) > 0.995) <= 0.05
    assert 0.35 < np.mean(p_values) < 0.65


def test_all_records_calibrate_where_none_are_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of a sample, which is enough to shape the score, the fit would end in a refusal."""
    monkeypatch.setattr("vaewatch.training.pipeline.JUDGED", 100)
    settings = {**SMALL, "id": "order", "report": False}
    scorer = train(make_frame(300), tmp_path / "all", alpha=0.005, **settings)
    assert scorer.artifact.calibration.rule == CROSS_FITTED
    assert scorer.artifact.calibration.n == 300
