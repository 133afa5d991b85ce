"""Numbers beside the few values that a column holds, and fractions among whole numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL
from vaewatch.scoring.features.levels import Ladder
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.spelling.categories import half, is_half
from vaewatch.scoring.table import table_of
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import MAX_CATEGORIES, infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.levels import (
    ENOUGH,
    LEAST_OF_LEVEL,
    LEAST_RUNS,
    is_whole,
    levels_of,
)

Rng = np.random.Generator
Numbers = np.ndarray[Any, np.dtype[np.float64]]

level_sets = st.lists(
    st.floats(0.001, 1e9) | st.integers(-500, 500) | st.sampled_from([0.1, 0.3, 20250104]),
    min_size=2,
    max_size=12,
    unique=True,
).map(lambda own: np.array(sorted(map(float, own))))


def fitted(values: Numbers) -> Vectorizer:
    frame = pl.DataFrame({"x": values, "y": np.arange(len(values)) % 2 == 0})
    return fit_vectorizer(checked_table(infer_schema(frame, TrainConfig()), frame))


def unseen(vectorizer: Vectorizer, *numbers: Any) -> list[bool]:
    records = [{"x": None if x is None else float(x), "y": True} for x in numbers]
    table = table_of(vectorizer.schema, records)
    together = vectorizer.transform(table).unseen[:, 0].tolist()
    alone = [
        bool(vectorizer.transform(table.take(np.array([i]))).unseen[0, 0])
        for i in range(len(records))
    ]
    assert alone == together
    return together


def drawn(levels: Numbers, n: int = 1200, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).choice(levels, n)


@settings(deadline=None, max_examples=60)
@given(level_sets)
def test_levels_come_back_in_any_precision_and_what_lies_between_is_unseen(levels: Numbers):
    vectorizer = fitted(drawn(levels))
    assert vectorizer.levels["x"] == tuple(levels)
    rounded = [half(level) for level in levels if is_half(half(level))]
    assert not any(unseen(vectorizer, *levels, *levels.astype(np.float32), *rounded))
    gaps = np.diff(levels)
    wide = gaps > 1e-2 * np.abs(levels).max()
    between = (levels[:-1] + 0.37 * gaps)[wide]
    beyond = [levels[-1] + np.ptp(levels), levels[0] - np.ptp(levels)]
    assert all(unseen(vectorizer, *between.tolist(), *beyond))


def test_a_level_that_was_learned_from_a_float32_is_the_number_it_stands_for():
    singles = np.array([0.1, 0.2, 0.7], np.float32).astype(float)
    assert not any(unseen(fitted(drawn(singles)), 0.1, 0.2, 0.7))
    halves = np.array([0.1, 0.2, 0.7], np.float16).astype(float)
    assert not any(unseen(fitted(drawn(halves)), 0.1, 0.2, 0.7))
    dates = np.array([20250104.0, 20250105.0, 20250107.0])
    assert unseen(fitted(drawn(dates)), 20250105, 20250106) == [False, True]


def test_columns_with_levels_do_not_mix():
    """The largest of one column is the neighbour of the least of the next in the table."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "grade": rng.integers(1, 11, 2000),
            "terms": rng.choice([14, 30, 60], 2000),
            "rate": rng.choice([0.1, 0.5], 2000),
            "amount": rng.normal(size=2000),
        }
    )
    vectorizer = fit_vectorizer(checked_table(infer_schema(frame, TrainConfig()), frame))
    assert list(vectorizer.levels) == ["grade", "terms", "rate"]
    rows = [
        ((11, 14, 0.1), "grade"),
        ((0, 60, 0.5), "grade"),
        ((10, 0.1, 0.1), "terms"),
        ((10, 10, 0.5), "terms"),
        ((1, 30, 14), "rate"),
        ((5, 30, 0.3), "rate"),
        ((10, 60, 0.1), ""),
    ]
    records = [
        dict(zip(("grade", "terms", "rate", "amount"), (*row, 0.5), strict=True))
        for row, _ in rows
    ]
    found = vectorizer.transform(table_of(vectorizer.schema, records)).unseen
    names = vectorizer.schema.names
    got = ["".join(names[i] for i in np.flatnonzero(row)) for row in found]
    assert got == [name for _, name in rows]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.append(drawn(np.arange(5.0)), 7.0), "a value comes once"),
        (drawn(np.arange(5.0), ENOUGH - 1), "few values"),
        (drawn(np.append(np.arange(MAX_CATEGORIES), 1e4), 20_000), "many levels"),
        (np.sort(drawn(np.arange(5.0), 3000)), "sorted, so that each comes once"),
        (np.sort(drawn(np.arange(5.0), 3000)) + 10 * drawn(np.arange(2.0), 3000), "by halves"),
        (np.repeat(drawn(np.arange(3.0), LEAST_RUNS - 1), 20), "few runs"),
    ],
)
def test_other_values_may_come_where(values: Numbers, why: str):
    assert levels_of(values) is None, why
    assert not unseen(fitted(values), float(values.max()) + 1)[0]


def test_what_an_entity_has_all_the_time_is_no_level():
    """A machine's capacity: 40 of them take turns, and the next one may have another."""
    rng = np.random.default_rng(0)
    machine = np.arange(8000) % 40
    frame = pl.DataFrame(
        {
            "machine": [f"m{i}" for i in machine],
            "capacity": rng.choice(np.arange(10.0, 30.0), 40)[machine],
            "mode": rng.integers(0, 4, 8000),
            "load": rng.normal(size=8000),
            "at": np.datetime_as_string(np.datetime64("2026-01-01T00:00") + np.arange(8000) // 40),
        }
    )
    config = TrainConfig(entity="machine", window=4, time="at")
    table = checked_table(infer_schema(frame, config), frame)
    assert table.entities is not None
    assert set(fit_vectorizer(table).levels) == {"mode"}
    alike = frame.drop("machine", "at")
    table = checked_table(infer_schema(alike, TrainConfig()), alike)
    assert set(fit_vectorizer(table).levels) == {"mode", "capacity"}


def test_a_year_is_no_level_however_the_file_is_sorted():
    rng = np.random.default_rng(0)
    day = np.sort(rng.integers(0, 1200, 4000))
    start = np.datetime64("2021-03-01")
    frame = pl.DataFrame(
        {"at": np.datetime_as_string(start + day), "year": 2021 + day // 365, "x": day % 3}
    ).sample(fraction=1.0, shuffle=True, seed=1)
    for config, names in ((TrainConfig(), {"year", "x"}), (TrainConfig(time="at"), {"x"})):
        some = frame if config.time else frame.drop("at")
        table = checked_table(infer_schema(some, config), some)
        assert set(fit_vectorizer(table).levels) == names


def test_levels_are_what_a_slow_derivation_gives():
    rng = np.random.default_rng(5)
    agreed = set()
    for _ in range(300):
        n = int(rng.integers(ENOUGH, 900))
        stay = rng.random(n) < rng.choice([0.0, 0.5, 0.9])
        values = rng.choice(6, n, p=rng.dirichlet(np.full(6, 0.7))).astype(float)
        for i in range(1, n):
            values[i] = values[i - 1] if stay[i] else values[i]
        runs = [(i, v) for i, v in enumerate(values) if i == 0 or values[i - 1] != v]
        early = [v for i, v in runs if i < n // 2]
        late = [v for i, v in runs if i >= n // 2]
        each = [min(early.count(v), late.count(v)) for v in set(values)]
        want = len(runs) >= LEAST_RUNS and min(each) >= LEAST_OF_LEVEL and len(each) > 1
        assert (levels_of(values) == tuple(sorted(set(values)))) == want
        agreed.add(want)
    assert agreed == {True, False}


LAWS: dict[str, Callable[[Rng, int], Numbers]] = {
    "few counts": lambda rng, n: rng.poisson(0.05, n).astype(float),
    "counts": lambda rng, n: rng.poisson(3, n).astype(float),
    "waiting": lambda rng, n: rng.geometric(0.5, n).astype(float),
    "binomial": lambda rng, n: rng.binomial(14, 0.27, n).clip(1).astype(float),
    "ages": lambda rng, n: rng.normal(45, 18, n).round().clip(18, 80),
    "rounded": lambda rng, n: rng.normal(0, 0.7, n).round(1),
    "any of 100": lambda rng, n: rng.integers(0, 100, n).astype(float),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [500, 1000, 5000])
def test_fresh_values_are_hardly_ever_beside_the_levels(law: str, n: int):
    """Of n values none lies where a share p does with a chance of (1 - p)^n: p (1 - p)^n is at
    most 1 / (e n), be the law what it may.
    """
    rng = np.random.default_rng(n)
    beside = []
    for _ in range(200):
        levels = levels_of(LAWS[law](rng, n))
        beside.append(0.0 if levels is None else 1 - np.isin(LAWS[law](rng, 2000), levels).mean())
    assert np.mean(beside) < min(1 / (np.e * n), 5e-4)


def test_a_fraction_among_whole_numbers_is_unseen_but_for_rounding():
    rng = np.random.default_rng(1)
    whole = rng.geometric(0.02, 2000).astype(float)
    vectorizer = fitted(whole)
    assert vectorizer.whole == ("x",) and not vectorizer.levels
    assert unseen(vectorizer, 2.5, 300.001, -0.5) == [True] * 3
    assert unseen(vectorizer, 3, 1, 3 * (1 + 1e-9), float(np.float32(77))) == [False] * 4
    broken = np.append(whole, 2.5)
    assert not is_whole(broken) and not is_whole(whole[: ENOUGH - 1]) and is_whole(whole)
    assert unseen(fitted(broken), 3.25) == [False]


def test_a_missing_value_is_no_other_level_and_no_fraction():
    rng = np.random.default_rng(2)
    numbers = rng.choice([14.0, 30.0, 60.0, np.nan], 2000)
    vectorizer = fitted(numbers)
    assert vectorizer.levels["x"] == (14, 30, 60)
    assert unseen(vectorizer, None, 30, 45) == [False, False, True]
    counts = np.where(rng.random(2000) < 0.1, np.nan, rng.geometric(0.02, 2000))
    assert unseen(fitted(counts), None, 30, 45.5) == [False, False, True]


def test_unseen_by_others_is_what_leaving_each_record_out_gives():
    n = ENOUGH + 20
    rng = np.random.default_rng(3)
    at = np.arange(n)
    frame = pl.DataFrame(
        {
            "level": np.where(at == 7, 45, rng.choice([14, 30, 60], n)),
            "twice": np.where(at < 2, 45, rng.choice([14, 30, 60], n)),
            "two": np.where(at == 3, 7, np.where(at == 4, 8, rng.integers(1, 4, n))),
            "few": np.where(at == 9, 45, np.where(at % 99 == 10, np.nan, rng.choice([14, 30], n))),
            "fraction": np.where(at == 11, 2.5, rng.geometric(0.02, n)),
            "fractions": np.where(at < 3, 2.5, rng.geometric(0.02, n)),
            "constant": np.where(at == 12, 1, 0),
        }
    )
    table = checked_table(infer_schema(frame, TrainConfig()), frame)
    odd = [0, 1, 2, 3, 4, 7, 9, 10, 11, 12, 100, 200]
    got = unseen_by_others(table)
    for i in odd:
        others = fit_vectorizer(table.take(np.delete(at, i)))
        assert others.transform(table.take(np.array([i]))).unseen[0].sum() == got[i]
    assert np.flatnonzero(got).tolist() == [7, 9, 11, 12]


@settings(deadline=None, max_examples=60)
@given(st.lists(level_sets, min_size=1, max_size=4), st.data())
def test_the_nearest_level_is_what_a_slow_search_gives(own: list[Numbers], data: Any):
    ladder = Ladder.of(own)
    ranks = np.array(data.draw(st.lists(st.integers(0, len(own) - 1), min_size=1, max_size=9)))
    numbers = np.array([data.draw(st.floats(-2e9, 2e9)) for _ in ranks])
    got = ladder.nearest(ranks, numbers)
    assert all(level in own[rank] for level, rank in zip(got, ranks, strict=True))
    want = [np.abs(own[rank] - x).min() for rank, x in zip(ranks, numbers, strict=True)]
    assert np.abs(got - numbers).tolist() == want


def requests(n: int, seed: int) -> pl.DataFrame:
    """Requests of a web site with the address of a client, of whom there are several hundred."""
    rng = np.random.default_rng(seed)
    status = rng.choice([200, 201, 302, 404, 500], n, p=[0.7, 0.1, 0.1, 0.08, 0.02])
    return pl.DataFrame(
        {
            "client": [f"client {k}" for k in rng.zipf(1.2, n) % 700],
            "status": status,
            "share": rng.choice([0.0, 0.2, 0.3, 0.5], n),
            "items": rng.geometric(0.05, n),
            "duration": np.round(rng.lognormal(3, 1, n) + 0.01 * status, 2),
        }
    )


@pytest.fixture(scope="module")
def request_scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    path = tmp_path_factory.mktemp("requests") / "artifact"
    return train(requests(3000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)


@pytest.mark.parametrize(("column", "number"), [("status", 418), ("share", 0.25), ("items", 2.5)])
def test_another_level_and_a_fraction_alarm_and_come_first(
    request_scorer: Scorer, column: str, number: float
):
    odd = requests(200, 1).with_columns(pl.lit(number).alias(column))
    verdicts = request_scorer.score(odd, explain=3)
    assert verdicts.is_anomaly.all()
    known = request_scorer.artifact.vectorizer.levels.get(column)
    for reasons, record, score in zip(
        verdicts.reasons, odd.to_dicts(), verdicts.score, strict=True
    ):
        assert (reasons[0].column, reasons[0].observed) == (column, number)
        expected = reasons[0].expected
        assert isinstance(expected, int | float) and expected == np.rint(expected) or known
        assert known is None or expected in known
        again = request_scorer.score([{**record, column: expected}]).score[0]
        assert score - again == pytest.approx(reasons[0].contribution, rel=1e-4)


def test_normal_requests_keep_the_budget(request_scorer: Scorer):
    fresh = requests(6000, 2)
    assert request_scorer.score(fresh, explain=0).is_anomaly.mean() < 0.02
    features = request_scorer.artifact.vectorizer.transform(
        checked_table(request_scorer.artifact.schema, fresh)
    )
    assert features.unseen.any(1).mean() < 1e-3


def test_levels_survive_the_artifact_and_one_of_before_has_none(
    request_scorer: Scorer, tmp_path: Path
):
    vectorizer = request_scorer.artifact.vectorizer
    assert set(vectorizer.levels) == {"status", "share"}
    assert set(vectorizer.whole) == {"status", "items"}
    data = json.loads(json.dumps(vectorizer.to_json()))
    again = Vectorizer.from_json(vectorizer.schema, data)
    assert (again.levels, again.whole) == (vectorizer.levels, vectorizer.whole)
    del data["levels"], data["whole"]
    before = Vectorizer.from_json(vectorizer.schema, data)
    odd = requests(9, 1).with_columns(status=pl.lit(418), items=pl.lit(2.5))
    table = checked_table(vectorizer.schema, odd)
    assert not before.transform(table).unseen.any()
    assert vectorizer.transform(table).unseen.sum(1).tolist() == [2] * 9
