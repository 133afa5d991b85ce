"""Blocks of time where there are segments: alarms beside what each calibration brings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call
from tests.training.test_segments import mixture
from tests.training.test_time import make_orders
from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.in_words import words
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.time.blocks import Outlook, outlook
from vaewatch.scoring.time.counted import BySlot, Counted
from vaewatch.scoring.time.form import DAY
from vaewatch.training.calibration.rehearsal import Mix, play
from vaewatch.training.config import TrainConfig
from vaewatch.training.evaluate import evaluate
from vaewatch.training.pipeline import fit
from vaewatch.training.train import train


def timed(n: int, seed: int) -> pl.DataFrame:
    """The mixture, one record a minute."""
    minutes = pl.int_range(n).cast(pl.Duration("us")) * 60_000_000
    at = (pl.lit("2026-03-01").str.to_datetime("%Y-%m-%d") + minutes).dt.strftime("%FT%TZ")
    return mixture(n, seed).with_columns(at=at)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segments") / "shops-in-time"
    train(timed(8000, 0), out, segment="shop", time="at", report=False, **SMALL)
    return out


def test_the_blocks_of_evaluate_agree_with_the_total(shops: Path):
    frame = timed(6000, 3).with_columns(label=pl.lit("normal"))
    for alpha in (None, 0.002):
        found = evaluate(Scorer.load(shops), frame, "label", alpha)
        assert found.outlook is not None
        together = found.outlook.together
        assert together.alarms == found.false_alarms and together.records == 6000
        assert together.expected == pytest.approx(found.expected_false_alarms)
        assert (together.low, together.high) == found.false_alarms_by_chance
        assert sum(block.expected for block in found.outlook.blocks) == together.expected


def test_the_blocks_of_replay_agree_with_the_total(shops: Path, tmp_path: Path):
    timed(6000, 3).write_csv(tmp_path / "in.csv")
    command = ("replay", shops, tmp_path / "in.csv", "--time", "at", "--alphas", "0.05,0.2")
    done = call(*command, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    together, total = found["outlook"]["together"], found["alphas"][0]
    assert together["alarms"] == total["alarms"]
    expected = total["expected"]
    assert together["expected"] == pytest.approx(expected["mean"])
    assert (together["low"], together["high"]) == (expected["low"], expected["high"])


def test_where_only_a_bound_is_known_the_words_say_up_to():
    times = np.arange(1000, dtype=np.int64) * DAY // 100
    counted = Counted.of(times, np.zeros(1000, bool), np.repeat([0, 1], 500))
    laws = [RateLaw(99, 5, 6), RateLaw(999, 10, 10)]
    found = outlook(counted, laws)
    assert found is not None
    assert [block.bound for block in found.blocks] == [True] * 5 + [False] * 5
    assert f"up to {found.together.expected:.0f} expected" in words(found)[0]
    together = Expected.together([(law, 500) for law in laws])
    assert found.together.expected == pytest.approx(together.mean)
    assert (found.together.low, found.together.high) == (together.low, together.high)


def test_counts_by_slot_add_up_whatever_their_order():
    rng = np.random.default_rng(0)
    times, slots = rng.integers(0, 50, 600), rng.integers(0, 4, 600)
    whole = BySlot.of(times, slots)
    parts = BySlot.of(times[:100], slots[:100]) + BySlot.of(times[100:], slots[100:])
    for first, last in ((0, 49), (7, 7), (12, 30)):
        here = (times >= first) & (times <= last)
        expected = np.bincount(slots[here], minlength=4).tolist()
        assert whole.between(first, last, 4) == parts.between(first, last, 4) == expected


def rehearsed(scorer: Scorer, rng: np.random.Generator, mix_changes: bool) -> Outlook:
    """A segment that is six times as loud comes three times as often in the end."""
    schema = scorer.artifact.schema
    share = np.where((np.arange(4000) >= 3200) & mix_changes, 0.6, 0.2)
    loud = rng.random(4000) < share
    scores = rng.gamma(3, size=4000) * np.where(loud, 3.0, 1.0)
    times = np.arange(4000, dtype=np.int64) * DAY // 40
    segments = scorer.artifact.segments
    assert segments is not None
    own = [segments.labels.index(name) for name in ("calm", "wild")]
    codes = np.where(loud, own[1], own[0]).astype(np.int32)
    mix = Mix(schema, codes[:3000], codes[3000:])
    found = play(scores[:3000], scores[3000:], times[3000:], 0.05, mix)
    assert found is not None
    return found


@pytest.mark.parametrize("mix_changes", [False, True])
def test_a_change_of_the_mix_alone_breaks_no_block(shops: Path, mix_changes: bool):
    """By the pooled calibration, nearly all of these would be said to break the budget."""
    scorer, rng = Scorer.load(shops), np.random.default_rng(6)
    found = [rehearsed(scorer, rng, mix_changes) for _ in range(60)]
    assert sum(one.broken for one in found) <= 4
    mean = np.mean([one.together.alarms for one in found])
    assert mean == pytest.approx(np.mean([one.together.expected for one in found]), rel=0.1)


def test_suspects_of_a_robust_fit_are_played_through_in_their_segments():
    """Without them the past of each segment would lack its highest scores, and the last fold of a
    source that stays had twice too many alarms. Of a segment that the pooled calibration judges
    only a bound is known.
    """
    n, rng = 4000, np.random.default_rng(100)
    heavy = (rng.random(n) < 0.06) * rng.uniform(20, 40, n)
    shop = rng.choice(["calm", "wild", "tiny"], n, p=[0.7, 0.295, 0.005])
    frame = make_orders(n).with_columns(weight=pl.col("weight") + heavy, shop=pl.Series(shop))
    settings = {**SMALL, "alpha": 0.02, "id": "order", "time": "created_at", "segment": "shop"}
    learned = fit(frame, TrainConfig(**settings, contamination_robust=True))
    assert learned.segments is not None and len(learned.segments.own) == 2
    assert learned.outlook is not None and len(learned.split.trimmed) > 0.04 * n
    together = learned.outlook.together
    assert together.bound and together.low <= together.alarms <= together.high
