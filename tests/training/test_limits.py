"""How far outside of the fit records a number must lie to be unseen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.conftest import SMALL, make_frame
from vaewatch.scoring.budget.calibration import CROSS_FITTED, SPLIT
from vaewatch.scoring.features.feature import Features
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.training.config import TrainConfig
from vaewatch.training.pipeline import fit
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.limits import LEAST_GIVEN, limits_of, slack_of_edge
from vaewatch.training.unseen.ratios import floor_of

Rng = np.random.Generator
Numbers = np.ndarray[Any, np.dtype[np.float64]]

finite = st.floats(-1e150, 1e150)  # their squares are finite
columns = arrays.arrays(np.float64, st.integers(LEAST_GIVEN, 80), elements=finite)
whole = arrays.arrays(np.float64, st.integers(LEAST_GIVEN, 80), elements=st.integers(-9, 99))


def fitted(values: Numbers) -> Vectorizer:
    frame = pl.DataFrame({"x": values, "y": np.arange(len(values)) % 2 == 0})
    return fit_vectorizer(checked_table(infer_schema(frame, TrainConfig()), frame))


def features_of(vectorizer: Vectorizer, *numbers: float) -> Features:
    records = [{"x": number, "y": True} for number in numbers]
    return vectorizer.transform(table_of(vectorizer.schema, records))


def unseen(vectorizer: Vectorizer, *numbers: float) -> list[bool]:
    return features_of(vectorizer, *numbers).unseen[:, 0].tolist()


@settings(deadline=None)
@given(columns | whole)
def test_no_value_within_the_range_of_the_fit_is_unseen(values: Numbers):
    assume(values.min() < values.max())
    vectorizer = fitted(values)
    low, high = vectorizer.limits["x"]
    assert -np.inf < low <= values.min() and values.max() <= high < np.inf
    middle = values.min() / 2 + values.max() / 2
    assert not any(unseen(vectorizer, *values.tolist(), middle, low, high))


@settings(deadline=None)
@given(columns | whole)
def test_a_value_of_the_fit_may_come_back_as_a_float32_or_a_float16(values: Numbers):
    assume(values.min() < values.max())
    vectorizer = fitted(values)
    with np.errstate(over="ignore"):
        again = np.concatenate([values.astype(np.float32), values.astype(np.float16)])
    assert not any(unseen(vectorizer, *again[np.isfinite(again)].astype(float).tolist()))


@settings(deadline=None)
@given(
    whole,
    st.sampled_from([0.001, 0.25, 3.0, 1e6]),
    st.sampled_from([-1, 1]),
    st.integers(-1000, 1000),
)
def test_limits_move_with_the_scale_and_the_shift_of_a_column(
    values: Numbers, scale: float, sign: int, shift: int
):
    limits = limits_of(values)
    moved = limits_of(sign * scale * values + shift)
    assume(limits is not None and moved is not None)
    assert limits is not None and moved is not None
    want = sorted(sign * scale * each + shift for each in limits)
    size = scale * np.abs(values).max() + abs(shift)
    assert moved == pytest.approx(want, rel=1e-9, abs=1e-3 * size)  # the rounding to float16


def test_limits_are_what_a_slow_derivation_gives():
    x = np.sort(np.random.default_rng(0).normal(size=3000))
    above = [value - x[-31] for value in x[-30:]]
    below = [x[30] - value for value in x[:30]]
    want = x[0] - 20 * sum(below) / 30, x[-1] + 20 * sum(above) / 30
    assert limits_of(x) == pytest.approx(want)
    assert limits_of(np.arange(101.0)) == pytest.approx((-110, 210))  # 20 * (1 + ... + 10) / 10
    ceiling = np.repeat([0.0, 10.0], [40, 60])  # the median is the largest
    assert limits_of(ceiling) == (-10, 10)


HEAVY: dict[str, Callable[[Rng, int], Numbers]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1, n),
    "wide lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "Pareto, no variance": lambda rng, n: rng.pareto(1.5, n),
    "Student, 2 degrees": lambda rng, n: rng.standard_t(2, n),
    "counts": lambda rng, n: rng.geometric(0.02, n).astype(float),
    "few counts": lambda rng, n: rng.poisson(0.05, n).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.exponential(9, n)),
    "two digits": lambda rng, n: np.round(rng.random(n), 2),
}


@pytest.mark.parametrize("law", HEAVY)
@pytest.mark.parametrize("n", [100, 400, 5000])
def test_fresh_values_of_a_heavy_tail_are_hardly_ever_unseen(law: str, n: int):
    rng = np.random.default_rng(n)
    beyond = []
    for _ in range(200 if n < 5000 else 20):
        limits = limits_of(HEAVY[law](rng, n))
        low, high = limits or (-np.inf, np.inf)
        fresh = HEAVY[law](rng, 5000)
        beyond.append(np.mean((fresh < low) | (fresh > high)))
    assert np.mean(beyond) < 1e-3


EDGED: dict[str, Callable[[Rng, int], Numbers]] = {
    "exponential": lambda rng, n: rng.exponential(3, n),
    "uniform": lambda rng, n: rng.random(n) * 7,
    "wide lognormal": lambda rng, n: rng.lognormal(3, 2, n),
    "counts": lambda rng, n: rng.poisson(1, n).astype(float),
    "counts from one": lambda rng, n: rng.zipf(1.6, n).clip(1, 1e6).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.6, 0, rng.normal(90, 9, n).clip(5)),
    "rounded durations": lambda rng, n: np.round(rng.lognormal(2, 1.7, n), 1),
}
OPEN: dict[str, Callable[[Rng, int], Numbers]] = {
    "warm": lambda rng, n: rng.normal(4, 1, n),
    "mild": lambda rng, n: rng.normal(3, 1, n),
    "whole degrees": lambda rng, n: rng.normal(12, 4, n).round(),
    "long tails": lambda rng, n: 6 + rng.laplace(size=n),
    "logistic": lambda rng, n: 6 + rng.logistic(size=n),
    "long left tail": lambda rng, n: 7 - rng.gumbel(size=n),
    "two seasons": lambda rng, n: np.where(
        rng.random(n) < 0.6, rng.normal(9, 2.5, n), rng.normal(22, 4, n)
    ),
}


def is_edge(values: Numbers) -> bool:
    return slack_of_edge(np.sort(values)) < np.inf


@pytest.mark.parametrize("law", EDGED)
@pytest.mark.parametrize("n", [1000, 20_000])
def test_a_negative_number_is_unseen_where_zero_is_an_edge(law: str, n: int):
    for seed in range(5):
        values = EDGED[law](np.random.default_rng(seed), n)
        low, _ = limits_of(values) or (-np.inf, 0)
        tiny = 1e-6 * float(np.median(values) + 1)
        assert -tiny <= low <= 0
        vectorizer = fitted(values)
        never = law == "counts from one" or floor_of(values) > 0  # zero is far from all, too
        assert unseen(vectorizer, -np.median(values) - tiny, 0.0) == [True, never]


@pytest.mark.parametrize("law", OPEN)
@pytest.mark.parametrize("n", [500, 1000, 5000, 30_000])
def test_zero_is_no_edge_of_what_happens_to_be_above_it(law: str, n: int):
    rng = np.random.default_rng(n)
    found = [is_edge(OPEN[law](rng, n)) for _ in range(300 if n < 5000 else 60)]
    assert sum(found) <= 1


@pytest.mark.parametrize("law", sorted({*EDGED, *OPEN}))
def test_the_edge_is_what_a_slow_derivation_gives(law: str):
    for n in (500, 3000, 20_000):
        values = (EDGED | OPEN)[law](np.random.default_rng(n), n)
        k = 100 if n < 1000 else n // 10 if n < 10_000 else 1000
        least = sorted(values.tolist())[: k + 1]
        by = [least[k] - value for value in least[:k]]
        below = k * np.exp(-least[k] * k / sum(by)) if sum(by) else k * (least[k] == 0)
        assert is_edge(values) == (least[0] >= 0 and below >= 10)


def test_the_page_says_which_amounts_come_near_enough_to_zero():
    """As docs/guides/data.md has it: a column that seldom comes near zero has no edge there."""
    others = np.linspace(10.01, 300, 900)
    assert is_edge(np.concatenate([np.linspace(0, 10, 100), others]))
    assert not is_edge(np.concatenate([np.linspace(2, 10, 100), others]))


def test_rounding_puts_no_number_beyond_an_edge():
    """A difference that should be zero."""
    values = np.random.default_rng(0).exponential(100, 3000).clip(0, 900)
    values[:500] = 0
    assert unseen(fitted(values), 0.3 - 0.1 - 0.2, -1e-12, -0.01) == [False, False, True]


def test_the_only_negative_number_is_unseen_to_all_others():
    n = 520
    rng = np.random.default_rng(4)
    at = np.arange(n)
    price = rng.exponential(9, n)
    frame = pl.DataFrame(
        {
            "price": np.where(at == 3, -2.0, price),
            "refunds": np.where(at < 2, -2.0 - at, price),
            "degrees": np.where(at == 7, -0.2, rng.normal(4, 1, n)),
        }
    )
    table = checked_table(infer_schema(frame, TrainConfig()), frame)
    got = unseen_by_others(table)
    for i in (0, 1, 3, 7, 99):
        others = fit_vectorizer(table.take(np.delete(at, i)))
        assert others.transform(table.take(np.array([i]))).unseen[0].sum() == got[i]
    assert np.flatnonzero(got).tolist() == [3]


@pytest.mark.parametrize("number", [1e5, -1e5, 1e8, -1e300])
def test_a_number_far_outside_is_unseen_and_stays_in_the_features(number: float):
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=300), rng.geometric(0.02, 300).astype(float)):
        vectorizer = fitted(values)
        features = features_of(vectorizer, number, float(values[0]))
        assert features.unseen[:, 0].tolist() == [True, False] and features.any_unseen
        assert np.sign(features.values[0, 0]) == np.sign(number)
        assert 5 < abs(features.values[0, 0]) < np.inf


def test_few_values_and_a_constant_have_no_limits():
    values = np.arange(float(LEAST_GIVEN))
    assert limits_of(values) is not None and limits_of(values[1:]) is None
    assert limits_of(np.full(100, 3.0)) is None
    assert unseen(fitted(np.full(100, 3.0)), 3.0, 4.0) == [False, True]  # as ever


def test_a_column_of_the_calendar_has_no_limits():
    at = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 2, 1), "3h", eager=True)
    frame = pl.DataFrame({"at": at.dt.strftime("%Y-%m-%dT%H:%M:%S"), "x": np.arange(len(at))})
    schema = infer_schema(frame, TrainConfig(time="at"))
    vectorizer = fit_vectorizer(checked_table(schema, frame))
    assert schema.circular and set(vectorizer.limits) == {"x"}


def test_unseen_by_others_is_what_leaving_each_record_out_gives():
    rng = np.random.default_rng(4)
    frame = pl.DataFrame(
        {
            "heavy": rng.standard_cauchy(60) ** 3,
            "gaps": pl.Series([None if i % 3 else float(rng.pareto(0.3)) for i in range(60)]),
            "once": [0] * 59 + [7],
            "twice": [0] * 58 + [7, 7],
            "even": rng.random(60),
            "text": ["a", "b"] * 30,
        }
    )
    schema = infer_schema(frame, TrainConfig())
    table = checked_table(schema, frame)
    want = np.zeros(60, int)
    for i in range(60):
        vectorizer = fit_vectorizer(table.take(np.delete(np.arange(60), i)))
        found = vectorizer.transform(table.take(np.array([i]))).unseen[0]
        want[i] = found.sum()
    got = unseen_by_others(table)
    assert got.tolist() == want.tolist() and got[59] == 1 and 2 <= got.sum() < 8


def orders(n: int, seed: int) -> pl.DataFrame:
    """Orders with the name of a customer, of whom there are several hundred."""
    rng = np.random.default_rng(seed)
    price = rng.lognormal(4, 1.2, n)
    return pl.DataFrame(
        {
            "customer": [f"customer {k}" for k in rng.zipf(1.2, n) % 700],
            "quantity": rng.binomial(14, 0.27, n).clip(1),
            "discount": rng.choice([0.0, 0.2, 0.3, 0.5, 0.8], n, p=[0.5, 0.3, 0.1, 0.05, 0.05]),
            "sales": np.round(0.44 + price, 2),
            "profit": np.round(price * rng.normal(0.2, 0.1, n), 2),
            "age": rng.integers(18, 81, n),
            "wind": rng.integers(0, 360, n),
        }
    )


FAR = [
    ("quantity", 100),
    ("discount", 2.0),
    ("sales", -1000.0),
    ("sales", -40.0),
    ("age", 150),
    ("age", -40),
    ("wind", 720),
]


@pytest.fixture(scope="module")
def order_scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    path = tmp_path_factory.mktemp("orders") / "artifact"
    return train(orders(3000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)


@pytest.mark.parametrize(("column", "number"), FAR)
def test_an_impossible_number_alarms_and_comes_first_among_many_texts(
    order_scorer: Scorer, column: str, number: float
):
    odd = orders(300, 1).with_columns(pl.lit(number).alias(column))
    verdicts = order_scorer.score(odd, explain=3)
    assert verdicts.is_anomaly.all()
    first = [reasons[0] for reasons in verdicts.reasons]
    assert {(reason.column, reason.observed) for reason in first} == {(column, number)}
    seen = orders(3000, 0)[column]
    for reason in first:
        assert isinstance(reason.expected, int | float)
        assert seen.min() <= reason.expected <= seen.max()  # type: ignore[operator]
        assert reason.contribution > 0.9 * order_scorer.artifact.rule.unseen


def test_two_impossible_numbers_are_the_first_two_reasons(order_scorer: Scorer):
    odd = orders(50, 1).with_columns(age=pl.lit(150), wind=pl.lit(720))
    for reasons in order_scorer.score(odd, explain=3).reasons:
        assert {reason.column for reason in reasons[:2]} == {"age", "wind"}


def test_normal_orders_keep_the_budget(order_scorer: Scorer):
    assert order_scorer.score(orders(4000, 2), explain=0).is_anomaly.mean() < 0.02


def test_limits_survive_the_artifact(order_scorer: Scorer):
    vectorizer = order_scorer.artifact.vectorizer
    assert set(vectorizer.limits) == {"quantity", "discount", "sales", "profit", "age", "wind"}
    again = Vectorizer.from_json(vectorizer.schema, vectorizer.to_json())
    assert again.limits == vectorizer.limits


def test_what_calibrates_does_not_widen_the_limits():
    start = datetime(2026, 1, 1)
    frame = make_frame(2000).with_columns(
        at=pl.Series([start + timedelta(minutes=i) for i in range(2000)])
    )
    late = pl.int_range(2000) == 1990
    frame = frame.with_columns(amount=pl.when(late).then(1e5).otherwise("amount"))
    config = TrainConfig(id="order", time="at", calibrate="recent", alpha=0.05, **SMALL)
    learned = fit(frame, config)
    assert learned.split.rule == SPLIT and learned.split.held_out.tolist().count(1990)
    assert learned.vectorizer.limits["amount"][1] < 1e4
    assert learned.calibration.scores[-1] > learned.rule.unseen


def test_a_number_beyond_all_other_fit_records_calibrates_as_an_unseen_one():
    odd = pl.int_range(300).is_in([7, 9])
    frame = make_frame(300).with_columns(
        amount=pl.when(odd).then(pl.int_range(300) * 1e3).otherwise("amount"),
        age=pl.when(pl.int_range(300) == 7).then(-5e4).otherwise("age"),
    )
    learned = fit(frame, TrainConfig(id="order", alpha=0.005, **SMALL))
    assert learned.split.rule == CROSS_FITTED
    cost = learned.calibration.scores.sum() - learned.evidence.scores.sum()
    assert cost == pytest.approx(learned.rule.unseen)  # the two amounts are each other's like
    assert learned.rule.unseen >= 302 / 2
    own = learned.evidence.scores[7] + learned.rule.unseen
    assert np.isclose(learned.calibration.scores, own).sum() == 1


def heavy(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    columns: dict[str, Numbers] = {}
    for j in range(6):
        columns |= {f"l{j}": rng.lognormal(0, 2, n), f"p{j}": rng.pareto(1.5, n)}
        columns[f"g{j}"] = rng.geometric(0.02, n).astype(float)
        columns[f"z{j}"] = np.where(rng.random(n) < 0.97, 0, rng.lognormal(0, 3, n))
    return pl.DataFrame(columns)


def test_a_small_table_of_heavy_tails_keeps_its_budget(tmp_path: Path):
    """In 24 columns more records than the budget allows have a number beyond the limits."""
    rates, far = [], []
    for seed in range(6):
        path = tmp_path / f"{seed}"
        scorer = train(heavy(300, seed), path, alpha=0.005, report=False, **SMALL)
        assert scorer.artifact.calibration.rule == CROSS_FITTED
        fresh = checked_table(scorer.artifact.schema, heavy(4000, 100 + seed))
        far.append(scorer.artifact.vectorizer.transform(fresh).unseen.any(1).mean())
        rates.append(scorer.score_table(fresh, explain=0).is_anomaly.mean())
    assert np.mean(far) > 0.01 and np.mean(rates) < 0.0075
