"""Columns of which one is never less than the other: which are found, and who breaks them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call
from tests.training.test_relations import Numbers, Rng, bills, marked, table_of_frame
from vaewatch.scoring.features.between.in_words import words_of
from vaewatch.scoring.features.between.relations import Relations
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.train import train
from vaewatch.training.unseen.between.orders import EXPECTED, MEETINGS, MOST, orders_of
from vaewatch.training.unseen.between.relations import relations_of
from vaewatch.training.unseen.between.varied import Varied


def days(n: int, seed: int) -> pl.DataFrame:
    """Prices of a day: low <= close <= high, in cents, often the same."""
    rng = np.random.default_rng(seed)
    low = rng.gamma(8, 10, n)
    high = low * (1 + rng.exponential(0.1, n))
    share = np.clip(rng.normal(0.5, 0.4, n), 0, 1)
    return pl.DataFrame(
        {
            "low": np.round(low, 2),
            "high": np.round(high, 2),
            "close": np.round(low + share * (high - low), 2),
            "volume": np.round(rng.gamma(3, 40, n)),
            "market": rng.choice(["A", "B"], n),
        }
    )


def orders(frame: pl.DataFrame, **settings: Any) -> list[str]:
    varied = Varied.of(table_of_frame(frame, **settings))
    return [words_of(each) for each in orders_of(varied, relations_of(varied))]


ALL = {"high >= low", "high >= close", "close >= low"}


def test_orders_are_found_and_nothing_else():
    assert set(orders(days(2000, 0))) == ALL
    rng = np.random.default_rng(0)
    assert orders(pl.DataFrame({c: rng.gamma(2, 1, 2000) for c in "abc"})) == []
    assert orders(days(2000, 0)[["market"]]) == orders(days(400, 0)) == []


@pytest.mark.parametrize(
    ("low", "close", "high", "column"),
    [
        (80.0, 85.0, 90.0, ""),
        (85.0, 85.0, 85.0, ""),
        (90.0, 85.0, 80.0, "high low close"),
        (80.0, 90.01, 90.0, "high close"),
        (80.0, 79.99, 90.0, "close low"),
        (80.0, None, 79.0, "high close"),  # a first missing value, as ever
    ],
)
def test_who_breaks_an_order_has_an_unseen_number(
    low: float, close: float | None, high: float, column: str
):
    row = {"low": low, "high": high, "close": close, "volume": 100.0, "market": "A"}
    records = pl.DataFrame([row], schema=days(1, 0).schema)
    (found,) = marked(days(3000, 0), records)
    assert set(found.split()) <= set(column.split()) and bool(found) == bool(column)


def test_rounding_and_missing_values_break_no_order():
    later = days(2000, 1)
    names = ["low", "high", "close"]
    same = later.with_columns(high=pl.col("low"), close=pl.col("low"))
    single = same.with_columns(pl.col("high").cast(pl.Float32))
    half = later.with_columns(
        pl.Series(name, later[name].to_numpy().astype(np.float16).astype(float)) for name in names
    )
    gone = later.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names[:2])
    vectorizer = fit_vectorizer(table_of_frame(days(3000, 0)))
    assert vectorizer.related is not None
    for frame in (later, same, single, half, gone):
        table = checked_table(vectorizer.schema, frame)
        assert not vectorizer.related.broken(table.numbers).any()


def chances(more: Numbers, less: Numbers) -> float:
    """Count, record by record, how often the numbers would be the other way round by chance."""
    total = 0.0
    for a, b in zip(np.array_split(more, 10), np.array_split(less, 10), strict=True):
        total += sum(float(np.mean(b > own)) for own in a)
    return total


def test_it_must_have_been_possible_often():
    seen = set()
    for seed, apart in enumerate(np.linspace(0.3, 4.0, 24).tolist()):
        rng = np.random.default_rng(seed)
        less = rng.uniform(1, 2, 2000)
        more = less + rng.uniform(0, 0.05, 2000)
        more[: 2000 // 2] += apart  # in five tenths they never meet
        less[2000 // 2 :] *= 1 + apart
        more[2000 // 2 :] = less[2000 // 2 :] * (1 + apart * rng.uniform(0, 1, 1000))
        possible = chances(more, less)
        if abs(possible - EXPECTED) < 0.1 * EXPECTED:
            continue
        found = bool(orders(pl.DataFrame({"more": more, "less": less})))
        assert found <= (possible >= EXPECTED)
        seen.add(found)
    assert seen == {True, False}


def test_what_lasts_for_many_records_is_one_chance():
    """Two that move slowly may not have met yet."""
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.uniform(10, 20, 40), 100)
    less = slow + rng.normal(0, 0.01, 4000)
    frame = pl.DataFrame({"more": less * (1 + rng.exponential(0.002, 4000)), "less": less})
    assert orders(frame) == []
    assert orders(frame[rng.permutation(4000)]) == ["more >= less"]


def test_either_half_must_show_the_edge():
    rng = np.random.default_rng(0)
    less = rng.uniform(1, 2, 4000)
    edge, none = rng.exponential(0.2, 4000), rng.normal(0.6, 0.1, 4000)
    later = np.arange(4000) >= 2000
    for apart, found in ((edge, True), (none, False), (np.where(later, none, edge), False)):
        assert bool(orders(pl.DataFrame({"more": less + apart, "less": less}))) == found


def test_what_is_the_same_now_and_then_has_an_order():
    """Who played once may have won that; of who plays often hardly anybody wins all."""
    rng = np.random.default_rng(0)
    games = rng.geometric(0.05, 3000)
    wins = rng.binomial(games, rng.beta(8, 8, 3000))
    assert np.count_nonzero(games == wins) > 2 * MEETINGS
    assert orders(pl.DataFrame({"games": games, "wins": wins})) == ["games >= wins"]
    apart = games != wins
    assert orders(pl.DataFrame({"games": games, "wins": wins}).filter(apart)) == []
    early = (np.arange(3000) < 1500) | apart
    assert orders(pl.DataFrame({"games": games, "wins": wins}).filter(early)) == []


def test_two_zeros_tell_of_no_order():
    """Nobody plays, and nobody wins, in most records."""
    rng = np.random.default_rng(0)
    plays = rng.random(3000) < 0.3
    more = np.where(plays, rng.normal(60, 10, 3000), 0.0)
    less = np.where(plays, rng.normal(30, 4, 3000), 0.0)
    assert (more >= less).mean() > 0.99
    keep = more >= less
    assert orders(pl.DataFrame({"more": more[keep], "less": less[keep]})) == []


def test_one_record_that_breaks_it_is_enough_that_there_is_none():
    frame = days(2000, 0)
    low = frame["low"].to_list()
    low[7] = frame["high"][7] + 0.01
    assert orders(frame.with_columns(low=pl.Series(low))) == ["high >= close"]


def test_columns_with_a_relation_need_no_order():
    rng = np.random.default_rng(0)
    net = rng.gamma(2, 50, 3000)
    frame = pl.DataFrame({"net": net, "gross": net * rng.choice([1.19, 1.21], 3000)})
    assert set(orders(frame)) <= {"gross >= net"}
    assert orders(frame.with_columns(gross=pl.col("net") * 1.2)) == []


def test_of_many_orders_those_of_neighbours_are_kept():
    rng = np.random.default_rng(0)
    steps = rng.exponential(1, (2000, 40)) * (rng.random((2000, 40)) < 0.1)
    x = rng.gamma(4, 3, (2000, 1)) + np.cumsum(steps, axis=1)
    found = orders(pl.DataFrame(x, schema=[f"q{i}" for i in range(40)]))
    assert len(found) == MOST < 40 * 39 / 2
    assert {f"q{i + 1} >= q{i}" for i in range(39)} <= set(found)


def test_fresh_records_hardly_ever_break_an_order():
    """Whether less is possible or not: some of these laws bring it in one of 700 records."""
    laws: list[Callable[[Rng, int], Numbers]] = [
        lambda rng, n: rng.exponential(0.3, n),
        lambda rng, n: rng.uniform(0, 1, n),
        lambda rng, n: np.abs(rng.normal(size=n)),
        lambda rng, n: rng.normal(3, 1, n),
        lambda rng, n: rng.normal(3.5, 1, n),
        lambda rng, n: rng.gumbel(2, 0.9, n),
        lambda rng, n: rng.gamma(2, 1, n) - 0.02,
    ]
    found = broken = records = 0
    for seed in range(140):
        rng = np.random.default_rng(seed)
        law, n = laws[seed % len(laws)], 6000
        less = rng.lognormal(1, 1, n)
        frame = pl.DataFrame({"more": less * (1 + law(rng, n)), "less": less})
        fit = table_of_frame(frame[:1500])
        tables = Relations.of(fit.schema, orders_of(Varied.of(fit), ()))
        if tables is not None:
            found += 1
            records += n - 1500
            broken += int(tables.broken(checked_table(fit.schema, frame[1500:]).numbers).sum())
    assert found > 45
    assert broken / records < 1e-4


@pytest.fixture(scope="module")
def day_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("days") / "artifact"
    train(days(3000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)
    return path


@pytest.fixture(scope="module")
def day_scorer(day_folder: Path) -> Scorer:
    return Scorer.load(day_folder)


def test_a_price_above_the_high_alarms_and_the_reason_mends_it(day_scorer: Scorer):
    right = days(200, 1)
    wrong = right.with_columns(close=(pl.col("high") * 1.02).round(2))
    verdicts = day_scorer.score(wrong, explain=3)
    assert verdicts.is_anomaly.all()
    first = [reasons[0] for reasons in verdicts.reasons]
    assert {reason.column for reason in first} <= {"close", "high"}  # either may be wrong
    for i, reason in enumerate(first[:60]):
        assert isinstance(reason.expected, int | float)
        again = {**wrong.row(i, named=True), reason.column: reason.expected}
        assert again["low"] <= again["close"] <= again["high"]
        assert verdicts.score[i] - day_scorer.score([again]).score[0] == pytest.approx(
            reason.contribution, rel=1e-3
        )


def test_high_and_low_that_change_places_alarm(day_scorer: Scorer):
    right = days(200, 1).filter(pl.col("low") < pl.col("high"))
    swapped = right.rename({"low": "high", "high": "low"}).select(right.columns)
    verdicts = day_scorer.score(swapped, explain=3)
    assert verdicts.is_anomaly.all()
    assert {reasons[0].column for reasons in verdicts.reasons} <= {"low", "high", "close"}
    assert day_scorer.score(days(4000, 2), explain=0).is_anomaly.mean() < 0.02


def test_inspect_shows_what_comes_in_order(day_folder: Path):
    shown = call("inspect", day_folder).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("orders"))
    assert set(line.removeprefix("orders").strip().split("; ")) == ALL


def test_orders_survive_the_artifact_and_relations_of_before_load(day_scorer: Scorer):
    vectorizer = day_scorer.artifact.vectorizer
    data = json.loads(json.dumps(vectorizer.to_json()))
    assert all(each.keys().isdisjoint({"high", "log"}) for each in data["relations"])
    assert Vectorizer.from_json(vectorizer.schema, data).relations == vectorizer.relations
    before = fit_vectorizer(table_of_frame(bills(3000, 0)))
    old = [each for each in before.to_json()["relations"] if "high" in each]
    again = Vectorizer.from_json(before.schema, before.to_json() | {"relations": old})
    assert again.relations == tuple(each for each in before.relations if each.high is not None)
    assert len(again.relations) == 4 < len(before.relations)
