"""What the errors in the other columns leave open of a column's own, against Schur complements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vaewatch.scoring.expected.conditional import Conditional
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train


def any_precision(rng: np.random.Generator, d: int) -> tuple[Precision, NDArray[np.float64]]:
    """Return Sigma^-1 of D features, and Sigma."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    precision = Precision(rng.uniform(0.5, 2, d), basis, rng.uniform(-2, 0.8, d))
    root = precision.whiten(np.eye(d))
    return precision, np.linalg.inv(root @ root.T)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 1000))
def test_errors_exceed_their_mean_given_all_others(sizes: list[int], seed: int):
    rng, d = np.random.default_rng(seed), sum(sizes)
    precision, sigma = any_precision(rng, d)
    columns = np.split(rng.permutation(d), np.cumsum(sizes)[:-1])
    r = rng.normal(size=(3, d))
    found = Conditional.of(precision, columns).beyond(precision.weigh(precision.whiten(r)))
    for own in columns:
        rest = np.setdiff1d(np.arange(d), own)
        means = sigma[np.ix_(own, rest)] @ np.linalg.solve(sigma[np.ix_(rest, rest)], r[:, rest].T)
        np.testing.assert_allclose(found[:, own], r[:, own] - means.T, rtol=1e-4, atol=1e-4)


def test_a_column_without_features_is_left_out():
    precision, _ = any_precision(np.random.default_rng(0), 2)
    found = Conditional.of(precision, [[], [1]]).beyond(np.ones((1, 2)))
    assert found[0, 0] == 0 != found[0, 1]


def orders(n: int, seed: int) -> pl.DataFrame:
    """The article decides its kind; everything else is as it likes, cities above all."""
    rng = np.random.default_rng(seed)
    article = np.minimum(rng.geometric(0.15, n) - 1, 16)
    names = {f"note_{i}": rng.choice(list("abcdefgh"), n) for i in range(8)}
    return pl.DataFrame(
        {
            "kind": np.array(["paper", "chairs", "phones"])[article % 3],
            "article": [f"article {i}" for i in article],
            "city": [f"city {i}" for i in rng.zipf(1.3, n).clip(max=400)],
            "quantity": rng.poisson(4, n) + 1,
            **names,
        }
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out: Path = tmp_path_factory.mktemp("shop") / "a"
    return train(orders(3000, 0), out, steps=400, report=False)


def test_a_kind_that_does_not_go_with_its_article_is_a_reason(shop: Scorer):
    rng = np.random.default_rng(2)

    def wrong(record: dict[str, Any]) -> dict[str, Any]:
        others = [kind for kind in ("paper", "chairs", "phones") if kind != record["kind"]]
        return {**record, "kind": str(rng.choice(others))}

    verdicts = shop.score_records([wrong(record) for record in orders(300, 1).to_dicts()])
    first = [own[0].column if own else "none" for own in verdicts.reasons]
    assert verdicts.is_anomaly.sum() > 250
    assert np.mean([name in ("kind", "article") for name in first]) >= 0.9
