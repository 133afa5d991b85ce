"""Numbers that belong together: which relations are found, who breaks them, and what mends one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL, call
from vaewatch.scoring.features.between.in_words import words_of
from vaewatch.scoring.features.between.relations import Relations
from vaewatch.scoring.features.state import Relation
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.between.relations import relations_of
from vaewatch.training.unseen.between.varied import LEAST_VARIED, Varied
from vaewatch.training.unseen.levels import ENOUGH

Rng = np.random.Generator
Numbers = np.ndarray[Any, np.dtype[np.float64]]


def table_of_frame(frame: pl.DataFrame, **settings: Any) -> Table:
    return checked_table(infer_schema(frame, TrainConfig(**settings)), frame)


def bills(n: int, seed: int) -> pl.DataFrame:
    """Bills to the cent: items x price = net, rate x net = tax, net + tax + fee = gross."""
    rng = np.random.default_rng(seed)
    items, price = rng.geometric(0.2, n), np.round(rng.lognormal(3, 1, n), 2)
    net = np.round(items * price, 2)
    rate = rng.choice([7.0, 19.0, 21.0], n)
    tax = np.round(net * rate / 100, 2)
    fee = np.where(rng.random(n) < 0.3, 0.0, np.round(rng.uniform(3, 30, n), 2))
    return pl.DataFrame(
        {
            "items": items,
            "price": price,
            "net": net,
            "rate": rate,
            "tax": tax,
            "fee": fee,
            "gross": np.round(net + tax + fee, 2),
            "weight": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2, 3, n).round(2)),
            "payer": rng.choice(["card", "transfer", "cash"], n),
        }
    )


def by_columns(relations: tuple[Relation, ...]) -> dict[frozenset[str], Relation]:
    return {frozenset(each.names): each for each in relations}


def test_sums_and_products_are_found_and_nothing_else():
    found = by_columns(relations_of(Varied.of(table_of_frame(bills(3000, 0)))))
    total, product = frozenset({"net", "tax", "fee", "gross"}), frozenset({"net", "rate", "tax"})
    amount = frozenset({"items", "price", "net"})
    both = frozenset({"gross", "net", "rate", "fee"})  # as the tax is a product
    assert set(found) == {total, product, amount, both}
    assert [found[key].log for key in (total, product, both, amount)] == [False] * 3 + [True]
    weights = dict(zip(found[total].columns, found[total].weights, strict=True))
    gross = weights.pop("gross")
    assert [w / gross for w in weights.values()] == pytest.approx([-1, -1, -1])
    weights = dict(zip(found[product].columns, found[product].weights, strict=True))
    assert weights[("net", "rate")] / weights["tax"] == pytest.approx(-0.01)
    assert found[total].low <= found[total].middle <= found[total].high


def stays(n: int, seed: int) -> pl.DataFrame:
    """Stays to the cent: rate x nights + tax - discount x rate x nights = total."""
    rng = np.random.default_rng(seed)
    rate, nights = rng.normal(110, 25, n).round(2), 1 + rng.poisson(1.5, n)
    discount = rng.choice([0.0, 0.1, 0.15], n, p=[0.7, 0.2, 0.1])
    tax = np.round(2.5 * nights * rng.integers(1, 4, n), 2)
    total = np.round(rate * nights * (1 - discount) + tax, 2)
    columns = {"rate": rate, "nights": nights, "discount": discount, "tax": tax, "total": total}
    return pl.DataFrame(columns | {"lead": rng.exponential(30, n).round()})


def test_sums_of_products_are_found_and_who_breaks_one():
    found = by_columns(relations_of(Varied.of(table_of_frame(stays(3000, 0)))))
    assert set(found) == {frozenset({"rate", "nights", "discount", "tax", "total"})}
    (relation,) = found.values()
    words = words_of(relation)
    assert words.startswith("total = ") and words.endswith(" rate x nights x discount + tax")
    later = stays(200, 1)
    for name in ("total", "rate"):
        broken = later.with_columns((pl.col(name) * 1.1).round(2))
        assert set(marked(stays(3000, 0), broken)) == {"total"}  # any of them may be the wrong one
    assert set(marked(stays(3000, 0), later)) == {""}


def test_a_number_that_mends_a_product_is_solved_for():
    table = table_of_frame(stays(3000, 0))
    related = fit_vectorizer(table).related
    assert related is not None
    right = checked_table(table.schema, stays(100, 1)).numbers
    names = [column.name for column in table.schema.numeric]
    for name in ("total", "rate", "nights", "tax"):
        column = names.index(name)
        wrong = right.copy()
        wrong[:, column] += 7
        columns, nothing = np.full(100, column), np.full(100, np.nan)
        mended = related.mended(wrong, columns, nothing, lambda numbers: numbers)
        assert mended == pytest.approx(right[:, column], abs=0.02)


def powers(n: int, seed: int) -> pl.DataFrame:
    """Bodies, with an index that is a product by logarithms only."""
    rng = np.random.default_rng(seed)
    height, weight = rng.normal(1.7, 0.1, n).round(2), rng.normal(70, 12, n).round(1)
    return pl.DataFrame(
        {"height": height, "weight": weight, "index": (weight / height**2).round(1)}
    )


def test_powers_are_found_by_logarithms():
    (found,) = relations_of(Varied.of(table_of_frame(powers(3000, 0))))
    assert found.log and found.names[0] == "index"
    assert words_of(found) == "index = weight / height^2"


def marked(fit: pl.DataFrame, records: pl.DataFrame) -> list[str]:
    """Return which columns of each record are unseen, of all together and of each by itself."""
    table = table_of_frame(fit)
    vectorizer = fit_vectorizer(table)
    later = checked_table(table.schema, records)
    together = vectorizer.transform(later).unseen
    alone = [vectorizer.transform(later.take(np.array([i]))).unseen[0] for i in range(len(later))]
    assert (together == np.array(alone)).all()
    names = table.schema.names
    return [" ".join(names[i] for i in np.flatnonzero(row)) for row in together]


CHANGES: dict[str, tuple[pl.Expr, str]] = {
    "twice the tax": (pl.col("tax") * 2, "tax"),
    "no tax": (pl.col("tax") * 0, "tax"),
    "gross is net": (pl.col("net"), "gross"),
    "a cent of gross": (pl.col("gross") + 0.01, "gross"),
    "net by ten": (pl.col("net") * 10, "net"),
    "three times the items": (pl.col("items") * 3, "items"),
    "as it was": (pl.col("gross"), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_who_breaks_a_relation_has_an_unseen_number(name: str):
    change, column = CHANGES[name]
    later = bills(200, 1).filter(pl.col("fee") > 0, pl.col("net") > 20, pl.col("net") < 300)
    assert len(later) > 50
    broken = later.with_columns(change.alias(column)) if column else later
    found = marked(bills(3000, 0), broken)
    if not column:
        assert set(found) == {""}
    elif name == "three times the items":  # the price may be the wrong one as well
        assert set(found) == {"items"}
    else:
        assert set(found) == {column}


def test_two_that_break_apart_are_both_marked():
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 1000))
    fit = pl.DataFrame({"a": a, "double": 2 * a, "c": c, "triple": 3 * c})
    rows = [[1.0, 2.0, 1.0, 3.0], [1.0, 2.0, 1.0, 4.0], [1.0, 2.5, 1.0, 4.0], [1, None, 1, 4]]
    later = pl.DataFrame(rows, schema=fit.columns, orient="row")
    assert marked(fit, later)[:3] == ["", "c", "a c"]
    assert "a" not in marked(fit, later)[3].split()


def test_rounding_breaks_no_relation():
    fit, later = bills(3000, 0), bills(500, 1)
    numbers = [name for name in fit.columns if name != "payer"]
    for dtype in (pl.Float32, pl.Float64):
        assert not any(marked(fit, later.with_columns(pl.col(numbers).cast(dtype))))
    small = later.filter(pl.col("gross") < 1000)
    halves = small.with_columns(
        pl.Series(name, small[name].to_numpy().astype(np.float16).astype(float))
        for name in ("price", "net", "tax", "fee", "gross", "weight")
    )
    assert not any(marked(fit, halves))


def test_a_missing_number_breaks_nothing():
    later = bills(100, 1)
    for name, unseen in (("net", "net"), ("tax", "tax gross")):  # a first missing value, as ever
        gone = later.with_columns(pl.lit(None, pl.Float64).alias(name), gross=pl.col("gross") * 2)
        assert set(marked(bills(3000, 0), gone)) == {unseen}  # the tax is known from net and rate


FEW = ENOUGH - 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda rng: 2 * (x := rng.normal(size=FEW)) + 0 * x, "few records"),
        (lambda rng: rng.normal(size=2000), "no relation"),
    ],
)
def test_there_is_no_relation_where(make: Callable[[Rng], Numbers], why: str):
    y = make(np.random.default_rng(0))
    x = y / 2 if why == "few records" else np.random.default_rng(1).normal(size=len(y))
    assert relations_of(Varied.of(table_of_frame(pl.DataFrame({"x": x, "y": y})))) == (), why


def test_a_wide_relation_is_none():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 4000))
    narrow = relations_of(
        Varied.of(table_of_frame(pl.DataFrame({"x": x, "y": 3 * x + 0.02 * noise})))
    )
    assert [set(each.names) for each in narrow] == [{"x", "y"}]
    assert (
        relations_of(Varied.of(table_of_frame(pl.DataFrame({"x": x, "y": 3 * x + 0.5 * noise}))))
        == ()
    )


def test_columns_that_hardly_vary_tell_of_no_relation():
    rng = np.random.default_rng(0)
    for varied in (LEAST_VARIED - 1, LEAST_VARIED):
        x = np.zeros(2000)
        x[rng.permutation(2000)[:varied]] = rng.integers(1, 9, varied)
        frame = pl.DataFrame({"x": x, "same": x, "z": rng.normal(size=2000)})
        assert len(relations_of(Varied.of(table_of_frame(frame)))) == (varied == LEAST_VARIED)


@pytest.mark.parametrize(
    ("weights", "middle", "log", "words"),
    [
        ((1, -1, -1), 1e-13, False, "gross = net + tax"),
        ((1, -1, 1), -6.0, False, "gross = net - tax - 6"),
        ((1, 0.5, -2), 0.25, False, "gross = -0.5 net + 2 tax + 0.25"),
        ((1, -1, -1), np.log(0.01), True, "gross = 0.01 x net x tax"),
        ((1, -1.0004, 1), 0.0, True, "gross = net / tax"),
        ((1, 1, 2), 0.0, True, "gross = 1 / net / tax^2"),
    ],
)
def test_a_relation_reads_as_people_write_it(
    weights: tuple[float, ...], middle: float, log: bool, words: str
):
    relation = Relation(("gross", "net", "tax"), weights, middle - 1, middle, middle + 1, log)
    assert words_of(relation) == words


def test_inspect_shows_what_belongs_together(bill_folder: Path):
    shown = call("inspect", bill_folder).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("relations"))
    assert all(name in line for name in ("gross", "net", "tax", "fee", "rate", "items"))


def test_a_relation_must_hold_in_both_halves_of_the_time():
    """A rate that was raised in the middle of the file is none that holds later."""
    rng = np.random.default_rng(0)
    n = 2000
    x, at = rng.normal(size=n), rng.permutation(n)
    moment = np.datetime_as_string(np.datetime64("2026-01-01T00:00") + at)
    y = 2 * x + np.where(at < n // 2, 0.0, 0.001) + 1e-5 * rng.normal(size=n)
    steady = pl.DataFrame({"at": moment, "x": x, "y": 2 * x + 1e-5 * rng.normal(size=n)})
    assert len(relations_of(Varied.of(table_of_frame(steady, time="at")))) == 1
    moved = steady.with_columns(y=pl.Series(y))
    assert relations_of(Varied.of(table_of_frame(moved, time="at"))) == ()
    assert (
        len(relations_of(Varied.of(table_of_frame(moved.drop("at"))))) == 1
    )  # the file mixes both


@settings(deadline=None, max_examples=40)
@given(
    weights=st.lists(st.floats(0.05, 50) | st.floats(-50, -0.05), min_size=1, max_size=4),
    constant=st.floats(-1e4, 1e4),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 1000),
)
def test_any_sum_is_found_and_tells_who_breaks_it(
    weights: list[float], constant: float, size: float, seed: int
):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1200, len(weights))) * size
    assume(min(np.abs(weights)) > 0.02 * max(np.abs(weights)))
    y = x @ weights + constant * size
    frame = pl.DataFrame({**{f"x{i}": own for i, own in enumerate(x.T)}, "y": y})
    fit, later = table_of_frame(frame[:900]), frame[900:]
    relations = relations_of(Varied.of(fit))
    assert [set(each.names) for each in relations] == [set(frame.columns)]
    tables = Relations.of(fit.schema, relations)
    assert tables is not None
    assert not tables.broken(checked_table(fit.schema, later).numbers).any()
    step = 1e-4 * (np.abs(x).max() * np.abs(weights).sum() + abs(constant) * size)
    moved = checked_table(fit.schema, later.with_columns(pl.col("y") + step)).numbers
    assert tables.broken(moved).all()


def test_one_record_that_breaks_it_is_enough_that_there_is_none():
    rng = np.random.default_rng(3)
    x = rng.normal(size=2000)
    y = 2 * x + 1e-3 * rng.normal(size=2000)
    assert len(relations_of(Varied.of(table_of_frame(pl.DataFrame({"x": x, "y": y}))))) == 1
    y[5] += 0.1
    assert relations_of(Varied.of(table_of_frame(pl.DataFrame({"x": x, "y": y})))) == ()


def test_fresh_records_hardly_ever_break_a_relation():
    """Whatever the law of the residuals: exponential and heavier tails, rounding, few values."""
    laws: list[Callable[[Rng, int], Numbers]] = [
        lambda rng, n: rng.normal(size=n),
        lambda rng, n: rng.laplace(size=n),
        lambda rng, n: rng.standard_t(3, n),
        lambda rng, n: rng.uniform(size=n),
        lambda rng, n: np.round(rng.normal(size=n)),
    ]
    found = broken = records = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        law, n = laws[seed % len(laws)], 5000
        x = rng.lognormal(0, 1, n)
        frame = pl.DataFrame({"x": x, "y": 5 * x + 0.001 * law(rng, n)})
        fit = table_of_frame(frame[:1000])
        tables = Relations.of(fit.schema, relations_of(Varied.of(fit)))
        if tables is not None:
            found += 1
            records += n - 1000
            broken += int(tables.broken(checked_table(fit.schema, frame[1000:]).numbers).sum())
    assert found > 50
    assert broken / records < 1e-4


@pytest.fixture(scope="module")
def bill_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bills") / "artifact"
    train(bills(3000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)
    return path


@pytest.fixture(scope="module")
def bill_scorer(bill_folder: Path) -> Scorer:
    return Scorer.load(bill_folder)


@pytest.mark.parametrize(
    "name", ["twice the tax", "gross is net", "a cent of gross", "net by ten"]
)
def test_a_broken_relation_alarms_and_the_reason_says_what_mends_it(
    bill_scorer: Scorer, name: str
):
    change, column = CHANGES[name]
    right = bills(150, 1).filter(pl.col("net") > 20, pl.col("net") < 300, pl.col("fee") > 0)
    wrong = right.with_columns(change.alias(column))
    verdicts = bill_scorer.score(wrong, explain=3)
    assert verdicts.is_anomaly.all()
    first = [reasons[0] for reasons in verdicts.reasons]
    named = np.array([reason.column == column for reason in first])
    if name == "a cent of gross":  # by so little any of the sum may be wrong
        assert {reason.column for reason in first} <= {"gross", "net", "tax", "fee"}
    else:
        assert named.mean() > 0.9
    for i in np.flatnonzero(named)[:40].tolist():
        record, reason = wrong.row(i, named=True), first[i]
        assert isinstance(reason.expected, int | float)
        if column == "gross":
            assert reason.expected == pytest.approx(right[column][i], abs=1e-9)
        assert reason.expected == pytest.approx(right[column][i], rel=0.1)
        again = bill_scorer.score([{**record, column: reason.expected}]).score[0]
        assert verdicts.score[i] - again == pytest.approx(reason.contribution, rel=1e-3)


def test_a_reason_is_there_where_no_single_number_mends_it(bill_scorer: Scorer):
    right = bills(150, 1).filter(pl.col("net") > 20, pl.col("net") < 300)
    swapped = right.rename({"net": "gross", "gross": "net"}).select(right.columns)
    verdicts = bill_scorer.score(swapped, explain=3)
    assert verdicts.is_anomaly.all()
    named = [{reason.column for reason in reasons} for reasons in verdicts.reasons]
    assert np.mean([bool(own & {"net", "gross", "tax"}) for own in named]) > 0.9


def test_normal_bills_keep_the_budget(bill_scorer: Scorer):
    fresh = bills(6000, 2)
    assert bill_scorer.score(fresh, explain=0).is_anomaly.mean() < 0.02
    table = checked_table(bill_scorer.artifact.schema, fresh)
    related = bill_scorer.artifact.vectorizer.related
    assert related is not None and related.broken(table.numbers).any(1).mean() < 1e-3


def test_relations_survive_the_artifact_and_one_of_before_has_none(bill_scorer: Scorer):
    vectorizer = bill_scorer.artifact.vectorizer
    assert frozenset({"net", "tax", "fee", "gross"}) in by_columns(vectorizer.relations)
    data = json.loads(json.dumps(vectorizer.to_json()))
    assert Vectorizer.from_json(vectorizer.schema, data).relations == vectorizer.relations
    del data["relations"]
    before = Vectorizer.from_json(vectorizer.schema, data)
    odd = bills(9, 1).with_columns(gross=pl.col("gross") + 1)
    table = checked_table(vectorizer.schema, odd)
    assert not before.transform(table).unseen.any()
    assert vectorizer.transform(table).unseen.any(1).all()


def test_no_rule_asks_for_a_number_below_0_where_none_was(tmp_path: Path):
    rng = np.random.default_rng(0)
    asked = rng.integers(20, 31, 3000)
    right = rng.binomial(asked, 0.8)
    frame = pl.DataFrame({"asked": asked, "right": right, "wrong": asked - right})
    frame = frame.with_columns(minutes=(1.5 * asked + 3 * rng.normal(size=3000)).round(1))
    scorer = train(frame, tmp_path / "quiz", alpha=0.01, steps=SMALL["steps"])
    record = {"asked": 24, "right": 30, "wrong": 6, "minutes": 36.0}
    reasons = {r.column: r.expected for r in scorer.score([record])[0].reasons}
    assert reasons["right"] == 18 and reasons["asked"] == 36 - 6
    assert "wrong" not in reasons or reasons["wrong"] >= 0
