"""What a category never comes with: which pairs are found, who has both, and what mends it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL
from vaewatch.scoring.features.between.exclusions import Exclusions
from vaewatch.scoring.features.between.in_words import facts_of
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table, table_of
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.between.exclusions import EXPECTED, exclusions_of
from vaewatch.training.unseen.between.together import Together


def table_of_frame(frame: pl.DataFrame, **settings: Any) -> Table:
    return checked_table(infer_schema(frame, TrainConfig(**settings)), frame)


def samples(n: int, seed: int) -> pl.DataFrame:
    """Blood tests in long form: sodium is about 140, potassium about 4, and no man is pregnant."""
    rng = np.random.default_rng(seed)
    test = rng.choice(["K", "NA", "HB"], n)
    usual = {"K": (4.2, 0.4), "NA": (140, 3), "HB": (14, 1.3)}
    centre, spread = (np.array([usual[t][i] for t in test]) for i in (0, 1))
    sex = rng.choice(["F", "M"], n)
    pregnant = np.where(sex == "M", None, rng.choice(["no", "yes"], n, p=[0.6, 0.4]))
    return pl.DataFrame(
        {
            "test": test,
            "unit": np.where(test == "HB", "g/dL", "mmol/L"),
            "result": np.round(rng.normal(centre, spread), 1),
            "hemolysis": np.where(test == "HB", np.nan, rng.geometric(0.1, n)),
            "sex": sex,
            "pregnant": pregnant,
            "age": rng.integers(15, 95, n),
            "ward": rng.choice(["ER", "GP", "ICU"], n),
        },
        strict=False,
    ).with_columns(hemolysis=pl.col("hemolysis").fill_nan(None))


def broken(fit: Table, later: Table) -> np.ndarray[Any, Any]:
    """Return which records have what excludes each other, (N,)."""
    tables = Exclusions.of(fit.schema, {}, exclusions_of(Together.of(fit, {})))
    if tables is None:
        return np.zeros(len(later), bool)
    assert not tables.broken(fit.numbers, fit.codes).any()
    return tables.broken(later.numbers, later.codes).any(1)


def names(exclusions: tuple[Exclusion, ...]) -> set[tuple[str, str]]:
    return {(each.column, each.other) for each in exclusions}


def test_what_depends_is_found_and_nothing_else():
    fit = table_of_frame(samples(4000, 0))
    found = exclusions_of(Together.of(fit, {}))
    together = {frozenset(pair) for pair in names(found)}
    assert together == {
        frozenset(pair)
        for pair in (
            ("test", "unit"),
            ("test", "result"),
            ("test", "hemolysis"),
            ("unit", "result"),
            ("unit", "hemolysis"),
            ("sex", "pregnant"),
        )
    }
    later = checked_table(fit.schema, samples(20_000, 1))
    assert broken(fit, later).mean() < 1e-4


CHANGES: dict[str, dict[str, pl.Expr]] = {
    "a potassium of 42": {
        "test": pl.lit("K"),
        "unit": pl.lit("mmol/L"),
        "result": pl.lit(42.0),
        "hemolysis": pl.lit(9.0),
    },
    "a pregnant man": {"sex": pl.lit("M"), "pregnant": pl.lit("yes")},
    "hemolysis of blood": {
        "test": pl.lit("HB"),
        "unit": pl.lit("g/dL"),
        "result": pl.lit(14.0),
        "hemolysis": pl.lit(9.0),
    },
}


def test_a_slow_derivation_gives_the_same():
    frame = samples(4000, 0)
    fit = table_of_frame(frame)
    got = {
        (each.column, each.code, each.other, event)
        for each in exclusions_of(Together.of(fit, {}))
        for event in each.events
        if not fit.schema.columns[fit.schema.names.index(each.other)].is_number
    }
    want = set()
    discrete = list(fit.schema.discrete)
    for i, left in enumerate(discrete):
        for j, right in enumerate(discrete[:i]):
            for a in set(fit.codes[:, i].tolist()):
                for b in set(fit.codes[:, j].tolist()):
                    one, two = fit.codes[:, i] == a, fit.codes[:, j] == b
                    parts = np.array_split(np.arange(len(fit)), 10)
                    chance = sum(one[p].sum() * two[p].sum() / len(p) for p in parts)
                    if chance >= EXPECTED and not (one & two).any():
                        want.add(frozenset({(left.name, a), (right.name, b)}))
    codes = {frozenset({(column, code), (other, event)}) for column, code, other, event in got}
    assert codes == want and want


@pytest.mark.parametrize("name", CHANGES)
def test_who_has_both_has_one_unseen_value(name: str):
    fit = table_of_frame(samples(4000, 0))
    vectorizer = fit_vectorizer(fit)
    odd = checked_table(fit.schema, samples(60, 1).with_columns(**CHANGES[name]))
    together = vectorizer.transform(odd).unseen
    assert (together.sum(1) >= 1).all()
    for i in range(len(odd)):
        assert (vectorizer.transform(odd.take(np.array([i]))).unseen[0] == together[i]).all()
    columns = [fit.schema.names[i] for i in np.flatnonzero(together.any(0))]
    assert set(columns) <= set(CHANGES[name])


def test_what_came_at_other_times_only_tells_nothing():
    """One shop opened when the other product was gone: they could not have come together."""
    n = 4000
    rng = np.random.default_rng(0)
    late = np.arange(n) >= n // 2
    frame = pl.DataFrame(
        {
            "shop": np.where(late & (rng.random(n) < 0.5), "new", "old"),
            "product": np.where(~late & (rng.random(n) < 0.5), "gone", "kept"),
            "x": rng.normal(size=n),
            "at": np.datetime_as_string(np.datetime64("2026-01-01T00:00") + np.arange(n)),
        }
    )
    assert exclusions_of(Together.of(table_of_frame(frame, time="at"), {})) == ()
    mixed = frame.drop("at").sample(fraction=1.0, shuffle=True, seed=1)
    assert names(exclusions_of(Together.of(table_of_frame(mixed), {}))) == {("product", "shop")}


def test_a_table_without_numbers_has_exclusions_too():
    rng = np.random.default_rng(0)
    sex = rng.choice(["F", "M"], 3000)
    pregnant = (sex == "F") & (rng.random(3000) < 0.5)
    fit = table_of_frame(pl.DataFrame({"sex": sex, "pregnant": pregnant}))
    rows = pl.DataFrame({"sex": ["M", "F", "F"], "pregnant": [True, True, False]})
    assert broken(fit, checked_table(fit.schema, rows)).tolist() == [True, False, False]


def test_what_is_rare_by_itself_excludes_nothing():
    rng = np.random.default_rng(0)
    n = 3000
    frame = pl.DataFrame(
        {
            "kind": rng.choice(["a", "b", "rare"], n, p=[0.6, 0.37, 0.03]),
            "flag": rng.choice(["x", "y", "seldom"], n, p=[0.6, 0.37, 0.03]),
            "x": rng.normal(size=n),
        }
    )
    assert exclusions_of(Together.of(table_of_frame(frame), {})) == ()


def test_a_constant_within_a_category_survives_rounding():
    n = 4000
    rng = np.random.default_rng(0)
    kind = rng.choice(["pickup", "parcel", "pallet"], n)
    fee = np.where(kind == "pickup", 0.1, np.where(kind == "parcel", 4.9, rng.gamma(3, 20, n)))
    frame = pl.DataFrame({"kind": kind, "fee": fee, "x": rng.normal(size=n)})
    fit = table_of_frame(frame)
    rows = [
        ("pickup", 0.1, 0.0),
        ("pickup", 4.9, 0.0),
        ("parcel", 4.9, 0.0),
        ("pallet", 50.0, 0.0),
    ]
    later = pl.DataFrame(rows, schema=frame.columns, orient="row")
    assert broken(fit, checked_table(fit.schema, later)).tolist() == [False, True, False, False]
    single = later.with_columns(pl.col("fee").cast(pl.Float32))
    assert broken(fit, checked_table(fit.schema, single)).tolist() == [False, True, False, False]


def test_fresh_records_hardly_ever_have_both():
    """Of categories that depend on each other as they like."""
    records = found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        law = rng.dirichlet(np.full(36, rng.choice([0.05, 0.2, 1.0])))
        cell = rng.choice(36, 6000, p=law)
        number = rng.gamma(2, 1 + cell % 6, 6000)
        kind = np.array([f"k{c // 6}" for c in cell])
        frame = pl.DataFrame({"kind": kind, "flag": [f"f{c % 6}" for c in cell], "x": number})
        fit = table_of_frame(frame[:3000])
        found += int(broken(fit, checked_table(fit.schema, frame[3000:])).sum())
        records += 3000
    assert found / records < 2e-4


@pytest.fixture(scope="module")
def sample_scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    path = tmp_path_factory.mktemp("samples") / "artifact"
    return train(samples(4000, 0), path, alpha=0.01, report=False, seed=1, **SMALL)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("a potassium of 42", {"result", "test"}),
        ("a pregnant man", {"sex", "pregnant"}),
        ("hemolysis of blood", {"hemolysis", "test"}),
    ],
)
def test_it_alarms_and_the_reason_says_what_mends_it(
    sample_scorer: Scorer, name: str, columns: set[str]
):
    odd = samples(100, 1).with_columns(**CHANGES[name])
    verdicts = sample_scorer.score(odd, explain=3)
    assert verdicts.is_anomaly.all()
    first = [reasons[0] for reasons in verdicts.reasons]
    assert np.mean([reason.column in columns for reason in first]) > 0.95
    for i, (record, reason) in enumerate(zip(odd.to_dicts(), first, strict=True)):
        again = sample_scorer.score([{**record, reason.column: reason.expected}])
        assert verdicts.score[i] - again.score[0] == pytest.approx(reason.contribution, rel=1e-3)
    if name == "a potassium of 42":
        assert all(
            2 < float(reason.expected or 0) < 7 for reason in first if reason.column == "result"
        )


def calls(n: int, seed: int) -> pl.DataFrame:
    """A call has a number and no bytes, data has bytes and no number."""
    rng = np.random.default_rng(seed)
    data = rng.random(n) < 0.4
    up = rng.lognormal(9, 1, n).round()
    return pl.DataFrame(
        {
            "kind": np.where(data, "data", np.where(rng.random(n) < 0.3, "text", "call")),
            "number": np.where(data, np.nan, rng.choice([31, 32, 44, 49], n)),
            "up": np.where(data, up, np.nan),
            "down": np.where(data, (up * rng.lognormal(1, 0.5, n)).round(), np.nan),
            "seconds": rng.exponential(100, n).round(),
            "cell": rng.choice([f"c{i}" for i in range(12)], n),
        }
    ).with_columns(pl.col("number", "up", "down").fill_nan(None))


def test_where_all_is_ruled_out_what_breaks_least_is_expected(tmp_path: Path):
    """A call with bytes: whichever column one mends, another one is wrong still."""
    scorer = train(calls(4000, 0), tmp_path / "artifact", alpha=0.01, report=False, **SMALL)
    rules = scorer.artifact.vectorizer.excluded
    assert rules is not None
    odd = calls(400, 1).filter(pl.col("kind") == "call").with_columns(up=5000.0, down=40_000.0)
    verdicts = scorer.score(odd, explain=4)
    assert verdicts.is_anomaly.all()
    before, after = odd.to_dicts(), []
    for record, reasons in zip(before, verdicts.reasons, strict=True):
        assert reasons and reasons[0].column in {"kind", "number", "up", "down"}
        after.append({**record, reasons[0].column: reasons[0].expected})
    had, left = (
        rules.broken(table.numbers, table.codes).sum(1)
        for table in (table_of(scorer.artifact.schema, records) for records in (before, after))
    )
    assert (had == 4).all() and (left == 3).all()


def test_normal_samples_keep_the_budget(sample_scorer: Scorer):
    assert sample_scorer.score(samples(6000, 2), explain=0).is_anomaly.mean() < 0.02


def test_inspect_says_which_columns_exclude_something(sample_scorer: Scorer):
    facts = dict(facts_of((), sample_scorer.artifact.vectorizer.exclusions, ()))
    assert list(facts) == ["exclusions"]
    said = re.fullmatch(
        r"(\d+) values of (.*) exclude some of another column", facts["exclusions"]
    )
    assert said is not None and int(said[1]) > 5
    assert {"test", "unit"} <= set(said[2].split(", ")) <= {"test", "unit", "sex", "pregnant"}


def test_exclusions_survive_the_artifact_and_one_of_before_has_none(sample_scorer: Scorer):
    vectorizer = sample_scorer.artifact.vectorizer
    data = json.loads(json.dumps(vectorizer.to_json()))
    assert Vectorizer.from_json(vectorizer.schema, data).exclusions == vectorizer.exclusions
    del data["exclusions"]
    before = Vectorizer.from_json(vectorizer.schema, data)
    odd = samples(9, 1).with_columns(**CHANGES["a pregnant man"])
    table = checked_table(vectorizer.schema, odd)
    assert not before.transform(table).unseen.any()
    assert vectorizer.transform(table).unseen.sum(1).tolist() == [1] * 9


def places(n: int, seed: int) -> pl.DataFrame:
    """60 stations, most of them rare, each with a postcode of its own."""
    rng = np.random.default_rng(seed)
    place = rng.choice(60, n, p=np.array([0.5**i for i in range(5)] + [0.0625 / 55] * 55) / 2)
    return pl.DataFrame(
        {
            "station": [f"S{i:02}" for i in place],
            "postcode": [f"P{i * 7 % 60:02}" for i in place],
            "plug": rng.choice(["a", "b"], n),
            "kwh": np.round(rng.gamma(4, 5, n), 2),
        }
    )


def moved(frame: pl.DataFrame) -> pl.DataFrame:
    """Five stations that came a few times, each with its own postcode and with another's."""
    seen = frame.group_by("station").agg(pl.len(), pl.col("postcode").first())
    rare = seen.filter(pl.col("len").is_between(2, 8)).sort("station").head(5)
    rows = rare.select("station", "postcode", plug=pl.lit("a"), kwh=pl.lit(20.0))
    return pl.concat([rows, rows.with_columns(postcode=pl.lit("P00"))])


def test_a_value_that_came_a_few_times_rules_out_what_another_one_determines():
    frame = places(3000, 0)
    fit = table_of_frame(frame)
    rows = checked_table(fit.schema, moved(frame))
    assert broken(fit, rows).tolist() == [False] * 5 + [True] * 5
    assert broken(fit, checked_table(fit.schema, places(9000, 1))).mean() < 1e-3


def test_one_exception_is_enough_that_nothing_is_determined():
    frame = places(3000, 0)
    odd = frame.head(1).with_columns(station=pl.lit("S01"), postcode=pl.lit("P00"))
    fit = table_of_frame(pl.concat([frame, odd]))
    assert not broken(fit, checked_table(fit.schema, moved(frame))).any()
