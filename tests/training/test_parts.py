"""Two columns that together are never more than a third: which are found, and who breaks them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call
from tests.training.test_relations import marked, table_of_frame
from vaewatch.scoring.features.between.in_words import words_of
from vaewatch.scoring.features.between.relations import Relations
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.train import train
from vaewatch.training.unseen.between.parts import EXPECTED, MOST, parts_of
from vaewatch.training.unseen.between.relations import relations_of
from vaewatch.training.unseen.between.varied import Varied

SUM = "approved >= paid + deducted"


def claims(n: int, seed: int) -> pl.DataFrame:
    """What is paid of a claim is a part of what is left of it, in cents, and often all of that."""
    rng = np.random.default_rng(seed)
    approved = np.round(rng.gamma(3, 400, n), 2)
    deducted = np.round(approved * rng.beta(2, 3, n), 2)
    share = np.minimum(rng.uniform(0.4, 1.2, n), 1)
    return pl.DataFrame(
        {
            "approved": approved,
            "deducted": deducted,
            "paid": np.floor((approved - deducted) * share * 100 + 1e-6) / 100,
            "days": np.round(rng.gamma(3, 8, n)),
            "office": rng.choice(["A", "B"], n),
        }
    )


def parts(frame: pl.DataFrame) -> list[str]:
    varied = Varied.of(table_of_frame(frame))
    return [words_of(each) for each in parts_of(varied, relations_of(varied))]


def test_parts_are_found_and_nothing_else():
    assert set(parts(claims(2000, 0))) <= {SUM, "approved >= deducted + paid"}
    assert len(parts(claims(2000, 0))) == 1
    rng = np.random.default_rng(0)
    assert parts(pl.DataFrame({c: rng.gamma(2, 1, 2000) for c in "abcd"})) == []
    assert parts(claims(2000, 0)[["approved", "paid"]]) == parts(claims(400, 0)) == []


@pytest.mark.parametrize(
    ("approved", "deducted", "paid", "found"),
    [
        (1000.0, 300.0, 700.0, False),
        (1000.0, 300.0, 500.0, False),
        (1000.0, 300.0, 700.01, True),
        (1000.0, 800.0, 700.0, True),
        (600.0, 300.0, 500.0, True),
        (None, 300.0, 500.0, True),  # a first missing value, as ever
    ],
)
def test_who_breaks_a_sum_has_an_unseen_number(
    approved: float | None, deducted: float, paid: float, found: bool
):
    row = {"approved": approved, "deducted": deducted, "paid": paid, "days": 20.0, "office": "A"}
    (columns,) = marked(claims(3000, 0), pl.DataFrame([row], schema=claims(1, 0).schema))
    assert set(columns.split()) <= {"approved", "deducted", "paid"}
    assert bool(columns) == found


def test_rounding_and_missing_values_break_no_sum():
    later = claims(2000, 1)
    names = ["approved", "deducted", "paid"]
    all_of_it = later.with_columns(paid=pl.col("approved") - pl.col("deducted"))
    single = all_of_it.with_columns(pl.col(names).cast(pl.Float32))
    half = all_of_it.with_columns(
        pl.Series(name, all_of_it[name].to_numpy().astype(np.float16).astype(float))
        for name in names
    ).filter(pl.any_horizontal(pl.col(names) % 1 != 0))  # of whole ones nobody can tell
    gone = later.with_columns(pl.lit(None, pl.Float64).alias("approved"))
    vectorizer = fit_vectorizer(table_of_frame(claims(3000, 0)))
    assert vectorizer.related is not None
    for frame in (later, all_of_it, single, half, gone):
        table = checked_table(vectorizer.schema, frame)
        assert not vectorizer.related.broken(table.numbers).any()


def test_it_must_have_been_possible_often():
    """Where the shares of two never meet, a sum says nothing: each record with each other one of
    its tenth.
    """
    seen = set()
    for seed, most in enumerate(np.linspace(0.40, 0.62, 23).tolist()):
        rng = np.random.default_rng(seed)
        first = rng.uniform(0.1, most, 3000)
        second = np.minimum(rng.uniform(0.1, most, 3000), 1 - first)
        whole = rng.gamma(3, 100, 3000)
        possible = sum(
            float(np.mean(own[:, None] + other[None] > 1)) * len(own)
            for own, other in zip(np.split(first, 10), np.split(second, 10), strict=True)
        )
        if abs(possible - EXPECTED) < 0.5 * EXPECTED:
            continue
        frame = pl.DataFrame({"whole": whole, "a": whole * first, "b": whole * second})
        found = bool(parts(frame))
        assert found == (possible >= EXPECTED), (most, possible)
        seen.add(found)
    assert seen == {True, False}


def test_one_record_that_breaks_it_is_enough_that_there_is_none():
    frame = claims(2000, 0)
    paid = frame["paid"].to_list()
    paid[7] = frame["approved"][7] - frame["deducted"][7] + 0.01
    assert parts(frame.with_columns(paid=pl.Series(paid))) == []


def test_what_a_relation_says_is_no_sum_of_parts():
    exact = claims(2000, 0).with_columns(paid=pl.col("approved") - pl.col("deducted"))
    assert parts(exact) == []


def test_few_values_are_no_parts():
    """Two indicators are at most a grade in many tables, and that means nothing."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 4000)
    frame = pl.DataFrame({"grade": rng.integers(1, 6, 4000), "a": kind == 0, "b": kind == 1})
    assert parts(frame.cast(pl.Int64)) == []


def test_rates_are_no_parts_of_a_count():
    """Two rates add up to more than one only where more than one connection is counted."""
    rng = np.random.default_rng(0)
    count = rng.geometric(0.4, 6000)
    same = np.where(count == 1, 1.0, rng.uniform(0.3, 1, 6000).round(2))
    other = np.where(count == 1, 0.0, rng.uniform(0.3, 1, 6000).round(2))
    frame = pl.DataFrame(
        {"count": count + np.where(count > 6, 30, 0), "same": same, "other": other}
    )
    assert (same + other <= count).all() and parts(frame) == []


def test_what_lasts_for_many_records_is_one_chance():
    rng = np.random.default_rng(0)
    first = np.repeat(rng.uniform(0.1, 0.8, 20), 200)
    second = (1 - first) * rng.uniform(0.95, 1, 4000)
    whole = np.repeat(rng.uniform(10, 20, 20), 200)
    frame = pl.DataFrame({"whole": whole, "a": whole * first, "b": whole * second})
    assert parts(frame) == []
    assert len(parts(frame[rng.permutation(4000)])) == 1


def test_of_many_sums_some_are_kept():
    rng = np.random.default_rng(0)
    shares = np.zeros((20_000, 12))
    first = rng.uniform(0.2, 0.8, 20_000)
    at = np.argsort(rng.random(shares.shape), axis=1)[:, :2]
    np.put_along_axis(shares, at, np.stack([first, 1 - first], axis=1), axis=1)
    whole = rng.gamma(9, 100, 20_000)
    frame = pl.DataFrame(whole[:, None] * shares, schema=[f"p{i}" for i in range(12)])
    found = parts(frame.with_columns(whole=pl.Series(whole * 1.01)))
    assert len(found) == MOST < 12 * 11 / 2
    assert all(each.startswith("whole >= ") for each in found)


def test_fresh_records_hardly_ever_break_a_sum():
    found = broken = records = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, noise = 8000, 0.05 * (seed % 4)
        first = rng.beta(2, 3, n)
        second = (1 - first) * np.minimum(rng.uniform(0.3, 1.1, n), 1) + noise * rng.random(n)
        whole = rng.gamma(3, 100, n) * rng.choice([1.0, 1.0 - 0.02 * (seed % 3)], n)
        frame = pl.DataFrame({"whole": whole, "a": whole * first, "b": whole * second})
        fit = table_of_frame(frame[:2000])
        tables = Relations.of(fit.schema, parts_of(Varied.of(fit), ()))
        if tables is not None:
            found += 1
            records += n - 2000
            broken += int(tables.broken(checked_table(fit.schema, frame[2000:]).numbers).sum())
    assert found >= 10
    assert broken / records < 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("claims") / "artifact"
    train(claims(3000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)
    return path


def test_a_claim_that_is_paid_too_much_alarms_and_the_reason_mends_it(folder: Path):
    scorer = Scorer.load(folder)
    right = claims(200, 1)
    wrong = right.with_columns(
        paid=(pl.col("approved") - 0.5 * pl.col("deducted")).round(2)
    ).filter(pl.col("deducted") > 20)
    verdicts = scorer.score(wrong, explain=3)
    assert verdicts.is_anomaly.all()
    for i, (reason, *_) in enumerate(verdicts.reasons[:60]):
        assert reason.column in ("approved", "deducted", "paid")
        assert isinstance(reason.expected, int | float)
        again = {**wrong.row(i, named=True), reason.column: reason.expected}
        assert again["paid"] + again["deducted"] <= again["approved"] * (1 + 1e-6)
    assert scorer.score(claims(4000, 2), explain=0).is_anomaly.mean() < 0.02


def test_inspect_shows_the_sum_and_the_artifact_keeps_it(folder: Path):
    shown = call("inspect", folder).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("orders"))
    assert SUM in line or "approved >= deducted + paid" in line
    vectorizer = Scorer.load(folder).artifact.vectorizer
    data = json.loads(json.dumps(vectorizer.to_json()))
    assert Vectorizer.from_json(vectorizer.schema, data).relations == vectorizer.relations
