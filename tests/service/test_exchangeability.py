"""The test martingale: rarely wrong under no change, soon right after one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.signal import lfilter

from tests.conftest import make_frame
from vaewatch.batch.replay.changed import TrafficWatch
from vaewatch.scoring.budget.calibration import CROSS_FITTED
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.promise import independent_blocks
from vaewatch.scoring.stream.martingale import (
    ROUND,
    SLOPES,
    Exchangeability,
    Players,
    Ranks,
    worth,
)
from vaewatch.service.model.model import load_model
from vaewatch.service.settings import Settings
from vaewatch.service.watch.monitor import Watch
from vaewatch.training.train import train


class Half(np.random.Generator):
    """Breaks all ties in the middle."""

    def random(self, n: int) -> np.ndarray:  # type: ignore[override]
        return np.full(n, 0.5)


def highest(rng: np.random.Generator, n: int, calibration: int = 200) -> float:
    """The highest log10 that a stream like its calibration reaches."""
    watch = Exchangeability(np.sort(rng.normal(size=calibration)), rng)
    return max(watch.update(rng.normal(size=50)) for _ in range(n // 50))


def test_under_no_change_it_exceeds_100_in_at_most_one_stream_of_100():
    rng = np.random.default_rng(0)
    reached = np.array([highest(rng, 2000) for _ in range(500)])
    assert np.mean(reached > 2) <= 0.01
    assert np.mean(reached > 1) <= 0.10


def neighbours(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """Scores of which each is like the one before it (an autoregressive process)."""
    return lfilter([1.0], [1.0, -memory], rng.normal(size=n + 2000))[2000:]


@pytest.mark.parametrize("memory", [0.9, 0.97])
def test_neighbouring_scores_that_are_alike_are_no_evidence(memory: float):
    """Windows share records. One score of many is taken, and as many calibrate as are apart."""
    rng, passed, risen = np.random.default_rng(0), 0, 0
    for _ in range(60):
        calibration = neighbours(rng, 10_000, memory)
        blocks = independent_blocks(calibration, np.zeros(10_000, int))
        spacing = -(-10_000 // blocks)
        scores = worth(np.sort(calibration), spacing)
        new = neighbours(rng, 60_000, memory)[::spacing]
        quiet = Exchangeability(scores, rng)
        passed += max(quiet.update(some) for some in np.array_split(new, 20)) > 1
        deviation = calibration.std()
        risen += Exchangeability(scores, rng).update(new + deviation) > 2
    assert passed <= 6  # 10 to 1 in a tenth of the streams
    assert risen >= 57


def test_ranks_are_uniform_and_independent_of_the_calibration_sample():
    rng = np.random.default_rng(1)
    p = np.concatenate(
        [
            Ranks(np.sort(rng.normal(size=20)), rng).p_values(rng.normal(size=100))
            for _ in range(300)
        ]
    )
    assert 0 < p.min() and p.max() < 1
    np.testing.assert_allclose(np.histogram(p, 10, (0, 1))[0] / len(p), 0.1, atol=0.01)
    assert abs(p.mean() - 0.5) < 0.01


@pytest.mark.parametrize("tied", [False, True])
def test_the_first_ranks_after_few_calibration_scores_are_uniform(tied: bool):
    """A score between two of the calibration is equal to neither."""
    rng, p = np.random.default_rng(6), []
    for _ in range(10_000):
        scores = np.floor(6 * rng.random(22)) if tied else rng.random(22)
        p.append(Ranks(np.sort(scores[:19]), rng).p_values(scores[19:]))
    for rank in np.array(p).T:
        np.testing.assert_allclose(np.histogram(rank, 20, (0, 1))[0] / 10_000, 0.05, atol=0.009)
    assert np.abs(np.corrcoef(np.array(p).T)[np.triu_indices(3, 1)]).max() < 0.04


def test_ranks_are_those_of_a_plain_count():
    """Against the definition, one by one, ties counted half."""
    rng = np.random.default_rng(7)
    calibration = np.sort(np.round(rng.normal(size=400), 2))
    scores = np.round(rng.normal(size=300), 3)
    ranks, seen = Ranks(calibration, Half(np.random.PCG64())), list(calibration)

    def place(score: float) -> int:
        return int(np.sum(calibration < score) + np.sum(calibration <= score))

    for score in scores:
        places = np.array([place(other) for other in seen])
        higher, equal = np.sum(places > place(score)), np.sum(places == place(score))
        found = ranks.p_values(np.array([score]))
        assert found == pytest.approx((higher + 0.5 * (equal + 1)) / (len(seen) + 1))
        seen.append(score)


def test_ranks_in_one_block_and_one_by_one_count_the_same_records():
    scores = np.random.default_rng(2).normal(size=40)
    calibration = np.sort(np.random.default_rng(3).normal(size=30))
    generator = Half(np.random.PCG64())
    together = Ranks(calibration, generator).p_values(scores)
    ranks = Ranks(calibration, generator)
    np.testing.assert_allclose([ranks.p_values(scores[i : i + 1])[0] for i in range(40)], together)


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_it_rises_soon_after_a_change_even_after_a_long_quiet_time(shift: float):
    rng = np.random.default_rng(4)
    watch = Exchangeability(np.sort(rng.normal(size=2000)), rng)
    assert watch.update(rng.normal(size=20_000)) < 2
    assert watch.update(rng.normal(size=300) + shift) > 2


def records_until_seen(scorer: Scorer, seed: int) -> tuple[float, int]:
    """The highest log10 over 1,000 records like those of the fit, and how many records it takes to
    exceed 2 when a second period follows: dearer orders, more from the rarest country.
    """
    rng = np.random.default_rng(seed)
    watch = Exchangeability(scorer.artifact.calibration.scores, rng)

    def scores(frame: pl.DataFrame) -> np.ndarray:
        return scorer.score(frame.drop("order"), explain=0).score

    first = scores(make_frame(1000, seed=100 + seed))
    calm = max(watch.update(first[i : i + 20]) for i in range(0, 1000, 20))
    late = make_frame(1000, seed=200 + seed)
    moved = rng.random(1000) < 0.3
    later = scores(
        late.with_columns(
            amount=pl.col("amount") * 1.1,
            country=pl.when(pl.Series(moved)).then(pl.lit("FR")).otherwise("country"),
        )
    )
    seen = (i + 20 for i in range(0, 1000, 20) if watch.update(later[i : i + 20]) > 2)
    return calm, next(seen, 1001)


def test_it_rises_within_some_hundred_records_of_a_second_period(scorer: Scorer):
    calm, waits = zip(*(records_until_seen(scorer, seed) for seed in range(5)), strict=True)
    assert max(calm) < 2
    assert max(waits) <= 300


def test_it_stays_finite_however_long_a_change_lasts():
    players = Players()
    for _ in range(20):
        players.bet(np.full(1000, 0.001))
    assert 2000 < players.log10 < 1e6


def test_capital_is_still_finite_after_a_long_change_and_a_long_quiet_time():
    players, rng = Players(), np.random.default_rng(5)
    for _ in range(20):
        players.bet(np.full(1000, 0.001))
    highest = players.log10
    for _ in range(60):
        players.bet(rng.random(1000))
    assert -1000 < players.log10 < highest - 2000  # most is lost again


def test_capital_is_the_average_of_what_each_player_holds():
    """Against a loop over players and blocks that multiplies plain numbers."""
    p_values = np.random.default_rng(6).random(450)
    players, capital = Players(), 1 / 6  # of six blocks that enter, so much waits after five
    for start in range(0, 450, 50):
        players.bet(p_values[start : start + 50])
    for k in range(5):
        for slope in SLOPES:
            stake = 1 / ((k + 1) * (k + 2) * len(SLOPES))
            for p in p_values[k * ROUND :]:
                stake *= 1 + slope * (p - 0.5)
            capital += stake
    assert players.log10 == pytest.approx(np.log10(capital), abs=1e-9)


def test_capital_starts_at_one():
    assert Players().log10 == 0.0


def test_served_scores_below_cross_fitted_ones_are_no_evidence(tmp_path: Path):
    """A record's out-of-bag score comes from members that are worse than those that serve."""
    small = {"steps": 20, "width": 8, "members": 4, "served": 2, "report": False}
    train(make_frame(60), tmp_path / "it", alpha=0.03, id="order", **small)
    model = load_model(tmp_path / "it", Settings(tmp_path / "it"))
    calibration = model.scorer.artifact.calibration
    assert calibration.rule == CROSS_FITTED
    rng = np.random.default_rng(0)
    below = np.quantile(calibration.scores, rng.random(2000)) - calibration.scores.std()
    watch = TrafficWatch(calibration)
    watch.take(np.arange(2000), below)
    assert Watch(model).exchangeability.update(below) < 0.5 and not watch.bursts()
    assert Watch(model).exchangeability.update(below + 3 * calibration.scores.std()) > 2
