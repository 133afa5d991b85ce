"""Small tables of every kind train, score, and load again: no check of ours loses a fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import vaewatch

Rng = np.random.Generator
FEW = {"steps": 40, "members": 4, "width": 16, "report": False, "alpha": 0.1}


def with_gaps(rng: Rng, values: np.ndarray, share: float) -> list[Any]:
    gone = (rng.random(len(values)) < share).tolist()
    return [None if out else value for out, value in zip(gone, values.tolist(), strict=True)]


COLUMNS: dict[str, Callable[[Rng, int], Any]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "running sum": lambda rng, n: rng.normal(size=n).cumsum(),
    "three integers": lambda rng, n: rng.integers(0, 3, n),
    "gaps": lambda rng, n: with_gaps(rng, rng.normal(size=n), 0.1),
    "rare category": lambda rng, n: rng.choice(["a", "b", "c"], n, p=[0.9, 0.09, 0.01]).tolist(),
    "many categories": lambda rng, n: [f"v{i}" for i in rng.zipf(1.6, n).clip(max=500)],
    "rare true": lambda rng, n: (rng.random(n) < 0.02).tolist(),
    "constant": lambda rng, n: np.full(n, 7.5),
    "heavy tail": lambda rng, n: rng.lognormal(0, 3, n),
    "count": lambda rng, n: rng.geometric(0.01, n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.98, 0.0, rng.exponential(100, n)),
    "large and narrow": lambda rng, n: 1e9 + rng.integers(0, 5, n),
    "one digit": lambda rng, n: np.round(rng.normal(size=n), 1),
    "boolean with gaps": lambda rng, n: with_gaps(rng, rng.random(n) < 0.8, 0.5),
}


def table(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([40, 100, 300, 800]))
    kinds = rng.choice(list(COLUMNS), rng.integers(1, 9))
    columns = [COLUMNS[kind](rng, n) for kind in kinds.tolist()]
    return pl.DataFrame([pl.Series(f"c{i}", c, strict=False) for i, c in enumerate(columns)])


def trains_scores_and_loads(seed: int, out: Path) -> None:
    frame = table(seed)
    scorer = vaewatch.train(frame, out, seed=seed, **FEW)
    verdicts = scorer.score(frame)
    assert np.isfinite(verdicts.score).all()
    again = vaewatch.load(out).score(frame)
    np.testing.assert_array_equal(again.score, verdicts.score)


@pytest.mark.parametrize("seed", range(10))
def test_a_small_table_trains(seed: int, tmp_path: Path):
    trains_scores_and_loads(seed, tmp_path / "artifact")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 530))
def test_any_small_table_trains(seed: int, tmp_path: Path):
    trains_scores_and_loads(seed, tmp_path / "artifact")
