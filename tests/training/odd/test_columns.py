"""How odd the oddest column of a record is, beside what columns usually cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.precision import Precision
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.covariance import FULL_FEATURES, fit_precision
from vaewatch.training.odd.columns import (
    LEAST_RECORDS,
    MOST_COLUMNS,
    ColumnCosts,
    ColumnView,
    may_view,
)
from vaewatch.training.train import train

SMALL = {"steps": 300, "width": 32, "members": 4, "served": 2, "report": False}


def residuals_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 3)) @ rng.normal(size=(3, d)) + rng.normal(size=(n, d))
    return mixed.astype(np.float32)


def falls(precision: Precision, columns: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """By how much the quadratic falls with the best errors of each column, found by a derivation
    of their own: the conditional mean.
    """
    root = precision.whiten(np.eye(len(columns)))
    inverse = root @ root.T
    covariance = np.linalg.inv(inverse)
    found = []
    for each in np.unique(columns):
        own, rest = columns == each, columns != each
        best = residuals.copy()
        best[:, own] = 0.0
        if rest.any():
            slopes = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[np.ix_(rest, own)])
            best[:, own] = residuals[:, rest] @ slopes
        before, after = (0.5 * np.einsum("ni,ij,nj->n", r, inverse, r) for r in (residuals, best))
        found.append(before - after)
    return np.stack(found, axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=2, max_size=7))
def test_a_cost_is_what_the_quadratic_falls_by_with_the_best_errors(seed: int, column: list[int]):
    columns = np.array(column)
    residuals = residuals_of(300, len(columns), seed)
    precision = fit_precision(residuals)
    some = residuals[:5].astype(float)
    costs = ColumnCosts.of(precision, columns).of_whitened(precision.whiten(some))
    np.testing.assert_allclose(costs, falls(precision, columns, some), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_a_cost_beside_many_features_is_the_same_fall(seed: int):
    """Sigma keeps the strongest correlations alone; the columns are judged in several blocks."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(40, size=200)
    basis = np.linalg.qr(rng.normal(size=(200, 9)))[0]
    precision = Precision(rng.uniform(0.5, 2, 200), basis, rng.uniform(-3, 0.9, 9))
    some = rng.normal(size=(5, 200))
    costs = ColumnCosts.of(precision, columns)
    assert len(costs.blocks) > 2
    found = costs.of_whitened(precision.whiten(some))
    np.testing.assert_allclose(found, falls(precision, columns, some), rtol=1e-6, atol=1e-8)


def test_an_odd_cost_counts_beside_what_the_column_usually_costs():
    """The first column costs a hundred times what the second one does."""
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(10_000, 2)).astype(np.float32)
    precision = fit_precision(residuals)
    costs = ColumnCosts.of(precision, np.array([0, 1]))
    heavy = np.array([10.0, 1.0])
    view = ColumnView.of(costs, precision.whiten(heavy * residuals), np.zeros(10_000), 50.0)

    def worth(first: float, second: float) -> float:
        return float(view.least(precision.whiten(np.array([[[first, second]]])))[0])

    assert worth(0, 0) == worth(20, 1) == worth(0, 2) == 0
    assert worth(0, 5) > 1 > worth(5, 0)  # where both add up, the second is nothing
    assert worth(0, 1e9) == 50  # no more than an unseen value


def test_it_takes_a_thousandth_of_normal_records():
    fit, new = np.split(residuals_of(40_000, 6, 1), 2)
    precision = fit_precision(fit)
    costs = ColumnCosts.of(precision, np.array([0, 0, 1, 2, 3, 3]))
    scores = 0.5 * (precision.whiten(fit.astype(float)) ** 2).sum(1)
    view = ColumnView.of(costs, precision.whiten(fit.astype(float)), scores, 1e4)
    alone = view.least(precision.whiten(new.astype(float))[None]) > np.quantile(scores, 0.99)
    assert 0.0005 <= alone.mean() <= 0.002


@pytest.mark.parametrize(
    ("records", "columns", "may"),
    [
        (LEAST_RECORDS, [0, 1], True),
        (LEAST_RECORDS - 1, [0, 1], False),
        (LEAST_RECORDS, [4, 4], False),
        (10_000, list(range(MOST_COLUMNS)) * 2, True),
        (10_000, list(range(MOST_COLUMNS + 1)), False),
    ],
)
def test_there_is_a_view_where_tails_can_be_seen(records: int, columns: list[int], may: bool):
    assert may_view(records, np.array(columns)) is may


def orders(n: int, seed: int) -> pl.DataFrame:
    """Orders of many cities, whose rarity moves a score more than all else does."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 401) ** 0.8
    kind = rng.integers(12, size=n)
    items = 1 + rng.poisson(3, n)
    return pl.DataFrame(
        {
            "city": [f"city {i}" for i in rng.choice(400, n, p=weights / weights.sum())],
            "kind": [f"kind {k}" for k in kind],
            "group": [f"group {k // 4}" for k in kind],
            "items": items,
            "price": np.round(items * (5 + kind) * np.exp(rng.normal(0, 0.2, n)), 2),
        }
    )


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out: Path = tmp_path_factory.mktemp("view") / "orders"
    return train(orders(5_000, 0), out, alpha=0.01, seed=1, **SMALL)


def test_what_is_wrong_of_one_column_alarms_beside_a_text_of_many_values(scorer: Scorer):
    normal = orders(4_000, 1)
    assert scorer.score(normal, explain=0).is_anomaly.mean() < 0.02
    some = normal[:300]
    other = (pl.col("group").str.slice(6).cast(pl.Int64) + 1) % 3
    wrong = some.with_columns(pl.format("group {}", other).alias("group"))
    found = scorer.score(wrong)
    assert found.is_anomaly.mean() > 0.9
    named = [{r.column for r in reasons} & {"kind", "group"} for reasons in found.reasons]
    assert np.mean([bool(each) for each in named]) > 0.9


def test_it_does_so_beside_more_features_than_a_full_covariance_has(tmp_path: Path):
    def wide(n: int, seed: int) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        return orders(n, seed).with_columns(
            pl.Series(name, [f"{name} {i}" for i in rng.integers(90, size=n)])
            for name in ("client", "street")
        )

    scorer = train(wide(5_000, 0), tmp_path / "a", alpha=0.01, seed=1, **SMALL)
    assert len(scorer.artifact.vectorizer.features) > FULL_FEATURES
    normal = wide(3_000, 1)
    other = (pl.col("group").str.slice(6).cast(pl.Int64) + 1) % 3
    wrong = normal[:300].with_columns(pl.format("group {}", other).alias("group"))
    assert scorer.score(normal, explain=0).is_anomaly.mean() < 0.02
    assert scorer.score(wrong, explain=0).is_anomaly.mean() > 0.9


def test_the_reconstruction_alone_has_no_view(tmp_path: Path):
    frame = orders(1_500, 2)
    alone = train(frame, tmp_path / "a", alpha=0.05, score="reconstruction", **SMALL)
    both = train(frame, tmp_path / "b", alpha=0.05, **SMALL)
    nodes = [b"ReduceMax" in each.artifact.graph for each in (alone, both)]
    assert nodes == [False, True]
