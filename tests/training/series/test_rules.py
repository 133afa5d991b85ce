"""What is learned among columns holds in windows as it does for single records: a record that
breaks a rule alarms, whatever the records before it are.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

AT = np.arange(60, 1200, 240)  # records with a fault


def plant(n: int, seed: int) -> pl.DataFrame:
    """Two flows and their sum, a least and a greatest pressure, and valves that open by mode."""
    rng = np.random.default_rng(seed)
    first, second = (rng.gamma(9, 2, n).round(1) for _ in range(2))
    least = rng.gamma(4, 1, n).round(2)
    mode = rng.choice(["fill", "rinse", "idle"], n)
    valve = np.where(mode == "idle", "shut", rng.choice(["open", "half", "shut"], n))
    return pl.DataFrame(
        {
            "ts": 1_767_225_600 + 60 * (np.arange(n) + 100_000 * seed),
            **{"first": first, "second": second, "total": (first + second).round(1)},
            **{"low": least, "high": (least + rng.exponential(1, n)).round(2)},
            **{"mode": mode, "valve": valve},
        }
    )


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out = tmp_path_factory.mktemp("plant") / "it"
    small = {"steps": 20, "width": 8, "members": 4, "served": 2, "report": False}
    train(plant(4000, 0), out, time="ts", window=12, alpha=0.01, **small)
    return Scorer.load(out)


RULES = {
    "a relation": {"total": pl.col("total") * 1.1},
    "an order": {"low": pl.col("high"), "high": pl.col("low")},
    "an exclusion": {"mode": pl.lit("idle"), "valve": pl.lit("open")},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_record_that_breaks_a_rule_alarms_in_its_window(scorer: Scorer, rule: str):
    frame = plant(1200, 1)
    at = pl.Series(np.isin(np.arange(1200), AT))
    broken = [pl.when(at).then(e).otherwise(pl.col(c)).alias(c) for c, e in RULES[rule].items()]
    verdicts = scorer.score(frame.with_columns(broken))
    assert verdicts.is_anomaly[AT].all()
    assert not scorer.score(frame).is_anomaly[AT].any()
