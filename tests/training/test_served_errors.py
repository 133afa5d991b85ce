"""What a member gave up is usual for it, though no other one did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from vaewatch.scoring.features.feature import Feature
from vaewatch.scoring.precision import Precision
from vaewatch.training.calibration.covariance import FULL_FEATURES, RIDGE, fit_precision
from vaewatch.training.calibration.out_of_bag import OutOfBag, errors_of
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.train import train
from vaewatch.training.vae.fit import fit_vae


def dense(precision: Precision) -> np.ndarray:
    """Sigma^-1."""
    root = precision.whiten(np.eye(len(precision.scale)))
    return root @ root.T


@pytest.mark.parametrize("d", [4, FULL_FEATURES + 20])
def test_a_precision_is_of_moments_that_do_not_lie_below_the_least(d: int):
    """Their correlations stay what they are."""
    r = np.random.default_rng(0).normal(size=(2000, d)).astype(np.float32)
    own = (r.astype(float) ** 2).mean(0) + RIDGE
    least = np.where(np.arange(d) == 1, 9.0, 0.25)
    wider = np.sqrt(np.maximum(own, least) / own)
    assert wider[1] > 2 and (np.delete(wider, 1) == 1).all()
    want = dense(fit_precision(r)) / np.outer(wider, wider)
    np.testing.assert_allclose(dense(fit_precision(r, least)), want, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(dense(fit_precision(r, 0 * own)), dense(fit_precision(r)))


def test_errors_are_the_second_moments_of_events_alone():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    members = fit_vae(x, TrainConfig(members=4, served=2, width=8, steps=30, seed=1)).vae
    features = [
        Feature("a", None, 0.0, 1.0),
        Feature("b", 0, 0.3, 1.0),
        Feature("b", 1, 0.7, 1.0),
    ]
    rows = np.arange(0, len(x), 2)
    got = errors_of(members, x, rows, Rules.of(features, len(x)))
    seen = torch.from_numpy(x[rows])
    with torch.no_grad():
        each = [
            (seen - one.decode(one.encode(seen[None]).mu).mean)[0]
            for one in map(members.only, ([0], [1], [2], [3]))
        ]
    moments = np.mean([(r.double().numpy() ** 2).mean(0) for r in each], axis=0)
    np.testing.assert_allclose(got, [0.0, *moments[1:]], rtol=1e-5)


def stations(n: int, seed: int) -> pl.DataFrame:
    """Two texts of 40 values that name the same thing."""
    rng = np.random.default_rng(seed)
    place = rng.choice(40, n, p=rng.dirichlet(np.full(40, 5.0)))
    energy = np.round(rng.gamma(4, 4, n), 2)
    return pl.DataFrame(
        {
            "station": [f"S{i:02}" for i in place],
            "code": [f"C{(i * 7) % 40:02}" for i in place],
            "energy": energy,
            "minutes": np.round(2 * energy + rng.normal(size=n), 1),
        }
    )


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_no_normal_record_costs_like_a_broken_rule(tmp_path: Path, seed: int):
    """Whatever each member learned of the 80 values, and though the neighbour part weighs what the
    other parts of judged records spread.
    """
    frame = stations(4000, 0)
    scorer = train(frame[:3000], tmp_path / "a", report=False, seed=seed, steps=800)
    costs = scorer.score(frame[3000:], explain=0).score
    assert np.mean(costs > scorer.artifact.rule.unseen / 8) < 0.01
    doubled = frame[3000:3200].with_columns(pl.col("minutes") * 2)
    assert scorer.score(doubled, explain=0, alpha=0.05).is_anomaly.mean() > 0.9


def test_the_same_member_s_errors_widen_what_it_judges():
    """Fold 0's judge never learned the event, the others did."""
    rng = np.random.default_rng(0)
    residuals = (0.01 * rng.normal(size=(3000, 2))).astype(np.float32)
    folds = np.arange(3000) % 3
    residuals[(folds == 0) & (rng.random(3000) < 0.1), 1] = 3.0
    oob = OutOfBag(residuals, np.zeros(3000), folds)
    features = [Feature("a", None, 0.0, 1.0), Feature("b", 0, 0.1, 0.33)]
    rules = Rules.of(features, 3000)
    errors = np.zeros((3, 2))
    alone = oob.reconstruction(rules, errors)
    errors[0, 1] = 0.9
    known = oob.reconstruction(rules, errors)
    failed = residuals[:, 1] > 2
    assert np.median(alone[failed]) > rules.nats / 2
    assert np.median(known[failed]) == pytest.approx(9 / 0.9 / 2, rel=0.05)
    np.testing.assert_array_equal(known[folds != 0], alone[folds != 0])
