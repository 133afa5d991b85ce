"""The sample of recent scores: bounded, uniform, exact in its counts, alike in every worker."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import START, Clock
from vaewatch.service.recalibrate.sample import Period, TimeSpan, draw
from vaewatch.service.watch.scores import HOUR, KEPT_SECONDS, MINUTE, Page, Scores
from vaewatch.service.watch.window import SCORES, forget

ALWAYS = Period(TimeSpan(0, 1e12))


def pages_of(scores: Scores) -> list[Page]:
    return [*scores.mine("a"), *scores.others("a")]


def test_few_records_are_all_kept_and_counted_by_minute(clock: Clock):
    kept = Scores()
    for minute in range(90):
        clock.now = START + MINUTE * minute
        kept.add("a", np.arange(10.0) + 100 * minute)
    drawn = draw(kept.mine("a"), ALWAYS, 10_000)
    expected = [100.0 * minute + i for minute in range(90) for i in range(10)]
    assert drawn.scores.tolist() == expected
    assert drawn.records == 900
    assert drawn.at.tolist() == [START + MINUTE * m for m in range(90) for _ in range(10)]
    period = Period(TimeSpan(START + 600, START + 1200), (TimeSpan(START + 700, START + 701),))
    some = draw(kept.mine("a"), period, 900)
    assert sorted(set((some.scores // 100).tolist())) == [10, 12, 13, 14, 15, 16, 17, 18, 19]
    assert some.records == 90


def test_memory_is_bounded_and_the_sample_stays_uniform(clock: Clock):
    """Many records of the first hour and few of the second have the same chance to be kept."""
    kept = Scores(most=2000, _generator=np.random.default_rng(1))
    for hour, records in enumerate((20_000, 5_000, 40_000)):
        clock.now = START + HOUR * hour
        for _ in range(10):
            kept.add("a", np.full(records // 10, float(hour)))
            pages = kept.mine("a")
            assert sum(len(page.scores) // 4 for page in pages) <= 2000
    drawn = draw(kept.mine("a"), ALWAYS, 10_000)
    shares = np.bincount(drawn.scores.astype(int)) / len(drawn.scores)
    assert drawn.records == 65_000 and 900 < len(drawn.scores) <= 2000
    np.testing.assert_allclose(shares, np.array([20, 5, 40]) / 65, atol=0.05)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(20, 300))
def test_whatever_comes_the_counts_are_exact_and_the_bound_holds(batches: list[int], most: int):
    kept = Scores(most=most, _generator=np.random.default_rng(0))
    for size in batches:
        kept.add("a", np.arange(float(size)))
    drawn = draw(kept.mine("a"), ALWAYS, 10**6)
    assert drawn.records == sum(batches)
    assert len(drawn.scores) <= min(most, drawn.records)
    assert drawn.records > most or len(drawn.scores) == drawn.records


def test_what_is_too_old_goes_and_another_model_starts_again(clock: Clock):
    kept = Scores()
    kept.add("a", np.zeros(5))
    clock.now += KEPT_SECONDS + HOUR
    kept.add("a", np.ones(3))
    assert draw(kept.mine("a"), ALWAYS, 100).scores.tolist() == [1.0] * 3
    kept.add("b", np.full(2, 7.0))
    assert kept.mine("a") == []
    assert draw(kept.mine("b"), ALWAYS, 100).scores.tolist() == [7.0] * 2


def test_a_sample_of_fewer_is_uniform_too(clock: Clock):
    kept = Scores(_generator=np.random.default_rng(3))
    kept.add("a", np.arange(50_000.0))
    drawn = draw(kept.mine("a"), ALWAYS, 5000)
    assert len(drawn.scores) == 5000 and drawn.records == 50_000
    np.testing.assert_allclose(
        np.quantile(drawn.scores, [0.1, 0.5, 0.9]) / 5e4, [0.1, 0.5, 0.9], atol=0.02
    )


def test_workers_see_each_other_s_pages_until_they_die(clock: Clock, tmp_path: Path):
    mine, other = Scores(tmp_path), Scores(tmp_path)
    codes = np.array([3, 0, 101, 3], np.int32)
    other.add("a", np.arange(4.0), codes=codes)
    clock.now += 60
    other.publish()
    (path,) = (tmp_path / SCORES).iterdir()
    elsewhere = path.with_name(path.name.replace(str(os.getpid()), "12345"))
    path.rename(elsewhere)  # as another process publishes it
    mine.add("a", np.arange(10.0, 13.0), codes=np.full(3, 7, np.int32))
    assert len(pages_of(mine)) == 2 and mine.mine("b") == []
    drawn = draw(pages_of(mine), ALWAYS, 100)
    assert sorted(drawn.scores.tolist()) == [0, 1, 2, 3, 10, 11, 12]
    assert dict(zip(drawn.scores.tolist(), drawn.codes.tolist(), strict=True)) == {
        **dict(enumerate(codes.tolist())),
        **dict.fromkeys((10, 11, 12), 7),
    }
    assert sorted(drawn.of_segment(3).scores.tolist()) == [0, 3]
    forget(tmp_path, 12345)
    assert draw(pages_of(mine), ALWAYS, 100).records == 3


def test_a_page_is_published_at_most_every_ten_seconds_and_only_if_it_is_new(
    clock: Clock, tmp_path: Path
):
    kept = Scores(tmp_path)
    kept.add("a", np.zeros(3))
    kept.publish()
    (path,) = (tmp_path / SCORES).iterdir()
    before = path.read_bytes()
    kept.add("a", np.zeros(3))
    kept.publish()
    assert path.read_bytes() == before
    clock.now += 11
    kept.publish()
    assert path.read_bytes() != before
    path.unlink()
    clock.now += 11
    kept.publish()
    assert not path.exists()
