"""A reason is a column whose expected value, in place of the observed one, lowers the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from tests.conftest import make_frame
from vaewatch.scoring.features.feature import rounded
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.training.train import train

Record = dict[str, Any]
SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2)))
STEPS = 800
PLANS = ["basic", "plus", "pro", "max"]
DAYS = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]


def contracts(n: int, seed: int) -> pl.DataFrame:
    """Amount and weight go together; a plan decides the fee, the support and the discount; nothing
    goes with the weekday.
    """
    rng = np.random.default_rng(seed)
    size, plan = rng.normal(size=n), rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    discount = np.round(10 + 4 * plan + rng.normal(size=n), 1)
    return pl.DataFrame(
        {
            "amount": np.round(100 + 30 * size + 2 * rng.normal(size=n), 2),
            "weight": np.round(2 + 0.5 * size + 0.04 * rng.normal(size=n), 3),
            "fee": np.round(20 + 25 * plan + 3 * rng.normal(size=n), 2),
            "orders": rng.poisson(8 + 6 * plan),
            "age": rng.integers(18, 80, n),
            "plan": np.array(PLANS)[plan],
            "support": np.where(plan == 0, "none", rng.choice(["mail", "phone"], n)),
            "discount": pl.Series(np.where(plan < 2, np.nan, discount)).fill_nan(None),
            "paperless": rng.random(n) < 0.1 + 0.25 * plan,
            "weekday": rng.choice(DAYS, n),
            "currency": ["EUR"] * n,
        }
    )


@dataclass(frozen=True)
class Trained:
    """A scorer, and records that it has not seen."""

    scorer: Scorer
    fresh: pl.DataFrame

    @cached_property
    def records(self) -> list[Record]:
        return self.fresh.to_dicts()

    @cached_property
    def normal(self) -> Verdicts:
        return self.scorer.score_records(self.records)

    def planted(self, plant: Callable[[Record], Record]) -> list[tuple[Record, Record]]:
        """Pairs of a normal record and the same with a fault, of which only the second alarms."""
        faulty = [plant(dict(record)) for record in self.records]
        alarms = self.scorer.score_records(faulty, explain=0).is_anomaly & ~self.normal.is_anomaly
        return [(self.records[i], faulty[i]) for i in np.flatnonzero(alarms)]

    def first_is_right(self, pairs: list[tuple[Record, Record]], *also: str) -> float:
        """The share of faults whose first reason is the planted column, or one that counts as it.

        Args:
            also: columns that are as right.
        """
        verdicts = self.scorer.score_records([faulty for _, faulty in pairs])
        right = [
            bool(reasons) and (record[name] != faulty[name] or name in also)
            for (record, faulty), reasons in zip(pairs, verdicts.reasons, strict=True)
            for name in [reasons[0].column if reasons else ""]
        ]
        return float(np.mean(right))


def trained(frame: pl.DataFrame, fresh: pl.DataFrame, out: Path, seed: int) -> Trained:
    scorer = train(frame, out, alpha=0.05, seed=seed, steps=STEPS, report=False)
    return Trained(scorer, fresh)


@pytest.fixture(scope="module", params=SEEDS)
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    seed: int = request.param
    frame, fresh = contracts(2000, seed), contracts(1000, 100 + seed)
    return trained(frame, fresh, tmp_path_factory.mktemp("mixed") / "a", seed)


@pytest.fixture(scope="module", params=SEEDS)
def tumours(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The benign ones: 30 numbers that depend on each other."""
    data, seed = load_breast_cancer(), request.param
    names = [name.replace(" ", "_") for name in data.feature_names]
    frame = pl.DataFrame(data.data[data.target == 1], names).sample(
        fraction=1.0, shuffle=True, seed=seed
    )
    return trained(frame[:260], frame[260:], tmp_path_factory.mktemp("tumours") / "a", seed)


def shift(frame: pl.DataFrame, names: list[str], rng: np.random.Generator) -> Callable[..., Any]:
    """Move one number by 4 to 10 standard deviations."""
    spread = {name: float(np.std(frame[name].drop_nulls().to_numpy())) for name in names}

    def plant(record: Record) -> Record:
        name = str(rng.choice([name for name in names if record[name] is not None]))
        moved = record[name] + rng.choice([-1, 1]) * rng.uniform(4, 10) * spread[name]
        return {**record, name: round(moved) if frame[name].dtype.is_integer() else moved}

    return plant


def test_a_planted_number_is_the_first_reason(mixed: Trained):
    names = ["amount", "weight", "fee", "orders", "age", "discount"]
    pairs = mixed.planted(shift(mixed.fresh, names, np.random.default_rng(0)))
    assert len(pairs) > 500
    assert mixed.first_is_right(pairs) >= 0.95


def test_a_planted_number_among_many_is_the_first_reason(tumours: Trained):
    pairs = tumours.planted(shift(tumours.fresh, tumours.fresh.columns, np.random.default_rng(0)))
    assert len(pairs) > 60
    assert tumours.first_is_right(pairs) >= 0.95


def test_a_planted_category_is_the_first_reason(mixed: Trained):
    rng = np.random.default_rng(0)
    values = {"plan": PLANS, "support": ["none", "mail", "phone"]}

    def plant(record: Record) -> Record:
        name = str(rng.choice(list(values)))
        return {**record, name: str(rng.choice([v for v in values[name] if v != record[name]]))}

    pairs = mixed.planted(plant)
    assert len(pairs) > 300
    assert mixed.first_is_right(pairs) >= 0.9


def test_a_missing_value_is_the_first_reason(mixed: Trained):
    """Those with a discount always name it."""
    pairs = mixed.planted(lambda record: {**record, "discount": None})
    assert len(pairs) > 100
    assert mixed.first_is_right(pairs) >= 0.9


def test_a_value_that_should_be_missing_is_the_first_reason(mixed: Trained):
    pairs = mixed.planted(lambda record: {**record, "discount": record["discount"] or 15.0})
    assert len(pairs) > 300
    assert mixed.first_is_right(pairs) >= 0.9


def test_either_of_two_that_do_not_go_together_is_the_first_reason(mixed: Trained):
    """An amount within the middle 90%, but not with this weight."""
    rng = np.random.default_rng(0)
    amounts = np.sort(mixed.fresh["amount"].to_numpy())[50:-50]
    pairs = mixed.planted(lambda record: {**record, "amount": float(rng.choice(amounts))})
    assert len(pairs) > 300
    assert mixed.first_is_right(pairs, "weight") >= 0.9


def fall(scorer: Scorer, record: Record, score: float, reason: Reason) -> float:
    replaced = {**record, reason.column: reason.expected}
    return score - float(scorer.score_records([replaced], explain=0).score[0])


def test_a_contribution_is_by_how_much_the_score_falls(mixed: Trained):
    records = mixed.records[:150]
    verdicts = mixed.scorer.score_records(records, explain=5)
    found = [
        (reason.contribution, fall(mixed.scorer, record, verdict.score, reason))
        for record, verdict in zip(records, verdicts, strict=True)
        for reason in verdict.reasons
    ]
    assert len(found) > 200
    assert min(contribution for contribution, _ in found) > 0
    np.testing.assert_allclose(*zip(*found, strict=True), rtol=1e-3, atol=5e-3)


def test_the_largest_contribution_comes_first(mixed: Trained):
    for reasons in mixed.scorer.score_records(mixed.records, explain=5).reasons:
        contributions = [reason.contribution for reason in reasons]
        assert contributions == sorted(contributions, reverse=True)


def test_an_expected_value_is_one_that_the_fit_data_could_hold(mixed: Trained):
    records = mixed.planted(shift(mixed.fresh, ["amount", "age"], np.random.default_rng(1)))
    columns = {column.name: column for column in mixed.scorer.artifact.schema.columns}
    asked = [faulty for _, faulty in records] + mixed.records
    verdicts = mixed.scorer.score_records(asked, explain=11)
    for reason in [reason for reasons in verdicts.reasons for reason in reasons]:
        column, expected = columns[reason.column], reason.expected
        assert expected != reason.observed
        if expected is None:
            assert not column.required
        elif column.kind is Kind.NUMERIC:
            assert column.low is not None and column.high is not None
            assert column.low <= float(expected) <= column.high
            assert isinstance(expected, int) == column.integer
        else:
            assert expected in (True, False) or expected in column.categories


def test_an_expected_value_goes_with_the_rest_of_the_record(mixed: Trained):
    pairs = mixed.planted(lambda record: {**record, "amount": 400.0})
    verdicts = mixed.scorer.score_records([faulty for _, faulty in pairs])
    errors = [
        float(reasons[0].expected or 0) - record["amount"]
        for (record, _), reasons in zip(pairs, verdicts.reasons, strict=True)
    ]
    assert np.median(np.abs(errors)) < 6  # the spread of amounts is 30, and 3 given the weight


def test_an_unseen_value_contributes_its_nats(mixed: Trained):
    verdict = mixed.scorer.score_records([{**mixed.records[0], "currency": "USD"}])[0]
    (first, *_) = verdict.reasons
    assert (first.column, first.observed, first.expected) == ("currency", "USD", "EUR")
    assert first.contribution == pytest.approx(mixed.scorer.artifact.rule.unseen)


def least_scores(mixed: Trained, records: list[Record]) -> np.ndarray[Any, Any]:
    """(N, C) the least score that any of a column's usual values gives, by brute force."""
    columns = mixed.fresh.columns
    least = np.full((len(records), len(columns)), np.inf)
    for j, name in enumerate(columns):
        values = mixed.fresh[name].unique().sort()
        some = np.linspace(0, len(values) - 1, min(len(values), 20)).astype(int)
        for value in values.gather(some):
            replaced = [{**record, name: value} for record in records]
            scores = mixed.scorer.score_records(replaced, explain=0).score
            least[:, j] = np.minimum(least[:, j], scores)
    return least


def test_an_independent_column_is_no_scapegoat(mixed: Trained):
    """It is the first reason of false alarms no more often than if all its values were tried."""
    fresh = contracts(5000, 77).to_dicts()
    verdicts = mixed.scorer.score_records(fresh)
    alarms = np.flatnonzero(verdicts.is_anomaly)
    best = least_scores(mixed, [fresh[i] for i in alarms]).argmin(axis=1)
    justified = Counter(mixed.fresh.columns[j] for j in best)["weekday"]
    first = [verdicts.reasons[i][0].column for i in alarms if verdicts.reasons[i]]
    assert len(first) > 100
    assert Counter(first)["weekday"] <= justified
    assert Counter(first)["weekday"] <= 0.15 * len(first)


def odd_tables() -> dict[str, tuple[pl.DataFrame, Record]]:
    """Frames with an odd column, and a record that is odd in it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    numbers = pl.DataFrame({"x": x, "y": x + 0.1 * rng.normal(size=200)})
    either = pl.Series(np.where(x > 0, 5.0, np.nan)).fill_nan(None)
    names = [f"n{i // 2}" if i < 190 else f"once{i}" for i in range(200)]
    rare = rng.permutation(["usual"] * 195 + [f"once{i}" for i in range(5)])
    return {
        "constants": (pl.DataFrame({"a": ["k"] * 50, "b": [1] * 50}), {"a": "q", "b": 2}),
        "only missing": (numbers.with_columns(z=pl.lit(None, pl.String)), {"z": "v"}),
        "one number or none": (numbers.with_columns(z=either), {"z": 6.0}),
        "a bucket": (numbers.with_columns(z=pl.Series(names)), {"z": "n1"}),
        "rare names": (numbers.with_columns(z=pl.Series(rare)), {"z": "once1"}),
        "one category": (numbers.with_columns(z=pl.lit("k")), {"z": None}),
        "a wide range": (numbers.with_columns(x=pl.Series(x * 1e290)), {"x": 1e300}),
        "tiny": (numbers.with_columns(x=pl.Series(x * 1e-290)), {"x": -1.0}),
        "yes or no": (numbers.with_columns(z=pl.Series(x > 0)), {"z": None}),
    }


@pytest.mark.parametrize("name", odd_tables())
def test_an_odd_column_is_explained(name: str, tmp_path: Path):
    frame, odd = odd_tables()[name]
    settings = {"steps": 30, "width": 8, "members": 4, "served": 2}
    scorer = train(frame, tmp_path / "a", alpha=0.05, report=False, **settings)
    records = [{**record, **odd} for record in frame.to_dicts()]
    verdicts = scorer.score_records(records, explain=9)
    assert sum(map(len, verdicts.reasons)) > 0
    for record, verdict in zip(records[:20], verdicts, strict=False):
        for reason in verdict.reasons:
            assert reason.observed == record[reason.column] != reason.expected
            assert fall(scorer, record, verdict.score, reason) == pytest.approx(
                reason.contribution, rel=1e-3, abs=1e-2
            )


def test_an_entry_is_that_of_the_whole_inverse_covariance():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(7, 3)))[0]
    precision = Precision(rng.uniform(1, 2, 7), basis, rng.uniform(-2, 0.9, 3))
    root = precision.whiten(np.eye(7))
    rows, columns = np.array([0, 3, 6]), np.array([0, 5, 1])
    np.testing.assert_allclose(precision.entries(rows, columns), (root @ root.T)[rows, columns])


def test_a_reason_shows_enough_digits_to_tell_the_values_apart():
    assert str(Reason("at", 1700000000.5, 1700003600.5, 1.0)) == (
        "at is 1.7e+09, expected 1.700004e+09"
    )
    assert str(Reason("at", 3.14159, 2.71828, 1.0)) == "at is 3.142, expected 2.718"
    assert str(Reason("on", True, None, 1.0)) == "on is true, expected missing"


def test_numbers_are_rounded_to_six_digits():
    got = rounded(np.array([0.0, 1 / 3, -123456.789, 1e-9 / 3, 1e300, 8.675309e12]), 6)
    assert got.tolist() == [0.0, 0.333333, -123457.0, 3.33333e-10, 1e300, 8.67531e12]


def test_a_rare_value_is_named_in_words_and_a_huge_number_in_few_digits():
    reason = Reason("city", "Oslo", "(other)", 3.0)
    assert str(reason) == "city is Oslo, expected one of its many rare values"
    assert str(Reason("amount", 1e300, 12.5, 3.0)) == "amount is 1e+300, expected 12.5"


def test_a_huge_number_is_observed_as_it_was_sent(scorer: Scorer):
    record = {**make_frame(1).to_dicts()[0], "amount": 1e300, "items": 7}
    table = table_of(scorer.artifact.schema, [record])
    columns = {column.name: column for column in scorer.artifact.schema.columns}
    observed = [table.observed(0, columns[name]) for name in ("amount", "items")]
    assert observed == [1e300, 7] and [type(value) for value in observed] == [float, int]
