"""Columns of more categories than the network has indicators for: all keep their names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, call
from vaewatch.scoring.drift import bins_of, count_bins
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.between.exclusions import check_exclusions
from vaewatch.scoring.features.between.in_words import names_in_words
from vaewatch.scoring.features.state import Exclusion
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import OTHER, PLACES, Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.profile import profile_columns, profile_frame
from vaewatch.training.records.rare import MANY
from vaewatch.training.records.schema import MAX_CATEGORIES, MAX_SEGMENTS, infer_schema
from vaewatch.training.sample import sample
from vaewatch.training.train import train
from vaewatch.training.unseen.between.exclusions import exclusions_of
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.unseen.names import come_anew
from vaewatch.training.unseen.then import features_then

GATES, STATIONS = 160, 40


def rides(n: int, seed: int, gates: int = GATES) -> pl.DataFrame:
    """Rides through the gates of stations; some gates are used more than others."""
    rng = np.random.default_rng(seed)
    weights = 1 / (20 + np.arange(gates))
    gate = rng.choice(gates, n, p=weights / weights.sum())
    return pl.DataFrame(
        {
            "gate": [f"G{g:04}" for g in gate],
            "station": [f"S{g % STATIONS:02}" for g in gate],
            "zone": [f"Z{g % 4}" for g in gate],
            "minutes": np.round(rng.gamma(4, 5, n), 1),
        }
    )


def table_of(frame: pl.DataFrame, **settings: Any) -> Table:
    return checked_table(infer_schema(frame, TrainConfig(**settings)), frame)


def unseen(vectorizer: Vectorizer, frame: pl.DataFrame) -> dict[str, int]:
    """Return how many unseen values the columns have that have one."""
    found = vectorizer.transform(checked_table(vectorizer.schema, frame)).unseen.sum(0)
    return {n: int(k) for n, k in zip(vectorizer.schema.names, found, strict=True) if k}


@pytest.fixture(scope="module")
def fit() -> Table:
    return table_of(rides(8000, 0))


@pytest.fixture(scope="module")
def fitted(fit: Table) -> Vectorizer:
    return fit_vectorizer(fit)


def test_all_that_recur_have_a_name_and_the_most_frequent_an_indicator(
    fit: Table, fitted: Vectorizer
):
    column = fit.schema.columns[0]
    assert len(column.categories) == GATES
    own = [f for f in fitted.features if f.column == "gate"]
    assert [f.code for f in own] == [*range(PLACES), other_code(column)]
    counts = fit.texts[0]
    shares = pl.Series(list(counts)).value_counts().sort("count", descending=True)["count"]
    assert own[-1].mean == pytest.approx(shares[PLACES:].sum() / len(fit))
    assert fitted.shared == {"gate": (*sorted(shares[PLACES:].to_list(), reverse=True), 0)}


def test_the_network_sees_what_it_would_if_all_others_had_no_name(fit: Table, fitted: Vectorizer):
    column = fit.schema.columns[0]
    names = column.categories[:PLACES]
    few = replace(fit.schema, columns=(replace(column, categories=names), *fit.schema.columns[1:]))
    before = fit_vectorizer(other := checked_table(few, rides(8000, 0)))
    scale = [(f.column, f.mean, f.deviation) for f in fitted.features]
    assert scale == [(f.column, f.mean, f.deviation) for f in before.features]
    assert np.array_equal(fitted.transform(fit).values, before.transform(other).values)


def test_a_table_of_fewer_has_nothing_of_it():
    some = fit_vectorizer(table_of(rides(6000, 0, gates=PLACES)))
    assert not some.shared and len(some.schema.columns[0].categories) == PLACES


def test_a_value_without_a_name_is_unseen_where_no_fit_record_had_one(fitted: Vectorizer):
    later = rides(4000, 1)
    assert unseen(fitted, later) == {}
    assert unseen(fitted, later.with_columns(gate=pl.lit("G01O3"))) == {"gate": 4000}
    rare = pl.concat([rides(8000, 0), later[:3].with_columns(gate=pl.Series(["X", "Y", "Z"]))])
    vectorizer = fit_vectorizer(table_of(rare.select("gate", "minutes")))
    assert vectorizer.shared["gate"][-1] == 3
    assert unseen(vectorizer, later.select(gate=pl.lit("G01O3"), minutes="minutes")) == {}


def test_more_than_can_be_named_share_a_bucket():
    n = MAX_CATEGORIES + 5
    frame = pl.DataFrame({"key": [f"k{i % n}" for i in range(3 * n)], "x": range(3 * n)})
    column = infer_schema(frame, TrainConfig()).columns[0]
    assert len(column.categories) == MAX_CATEGORIES
    vectorizer = fit_vectorizer(table_of(frame))
    assert vectorizer.shared["key"][-1] == 15
    assert unseen(vectorizer, frame[:9].with_columns(key=pl.lit("new"))) == {}


def test_a_segment_has_as_many_labels_as_before():
    schema = infer_schema(rides(8000, 0), TrainConfig(segment="gate"))
    assert len(schema.columns[0].categories) == MAX_SEGMENTS == PLACES


def test_each_name_determines_what_it_came_with(fit: Table, fitted: Vectorizer):
    later = rides(4000, 1)
    last = fit.schema.columns[0].categories[-1]
    wrong = later.filter(pl.col("gate") == last).with_columns(
        station=pl.when(pl.col("station") == "S03").then(pl.lit("S07")).otherwise(pl.lit("S03")),
        zone=pl.lit("Z3"),
    )
    assert len(wrong) > 3
    marked = fitted.transform(checked_table(fit.schema, wrong)).unseen
    assert marked.any(1).all() and not marked[:, 3].any()


def test_what_is_not_excluded_is_written_where_that_is_shorter(fit: Table):
    found = [
        each
        for each in exclusions_of(Together.of(fit, {}))
        if {each.column, each.other} <= {"gate", "station"}
    ]
    assert found and all(each.but is not None and not each.events for each in found)
    sizes = {c.name: missing_code(c) + 1 for c in fit.schema.columns if not c.is_number}
    both = {(each.column, each.other) for each in found}
    ((column, other),) = both
    at = [fit.schema.place[column], fit.schema.place[other]]
    came = {tuple(pair) for pair in fit.codes[:, at].tolist()}
    for each in found:
        out = set(range(sizes[other])) - set(each.but or ())
        assert out and not {(each.code, event) for event in out} & came


def test_many_names_push_no_other_exclusion_out():
    frame = rides(8000, 0)
    some = {each for each in exclusions_of(Together.of(table_of(frame.drop("gate")), {}))}
    assert some and some <= set(exclusions_of(Together.of(table_of(frame), {})))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("names") / "artifact"
    train(rides(8000, 0), path, alpha=0.01, report=False, **SMALL)
    return path


@pytest.fixture(scope="module")
def scorer(path: Path) -> Scorer:
    return Scorer.load(path)


def test_a_gate_of_another_station_alarms_and_one_of_it_is_expected(scorer: Scorer):
    later = rides(3000, 1)
    assert scorer.score(later, explain=0).is_anomaly.mean() < 0.03
    of = dict(later.select("gate", "station").rows())
    last = scorer.artifact.schema.columns[0].categories[-1]
    wrong = later.filter(pl.col("station") != of[last])[:40].with_columns(gate=pl.lit(last))
    verdicts = scorer.score(wrong, explain=3)
    assert verdicts.is_anomaly.all()
    first = [reasons[0].column for reasons in verdicts.reasons]
    assert set(first) <= {"gate", "station"} and first.count("gate") > 20
    for record, reasons in zip(wrong.to_dicts(), verdicts.reasons, strict=True):
        expected = {reason.column: str(reason.expected) for reason in reasons}
        assert OTHER not in expected.values()
        assert of[expected.get("gate", last)] == expected.get("station", record["station"]) or (
            of[expected["gate"]] == record["station"]
        )


def test_a_typo_alarms_and_is_the_first_reason(scorer: Scorer):
    verdicts = scorer.score(rides(50, 2).with_columns(gate=pl.col("gate") + "?"))
    assert verdicts.is_anomaly.all()
    assert all(str(reasons[0].observed).endswith("?") for reasons in verdicts.reasons)
    assert all(reasons[0].column == "gate" for reasons in verdicts.reasons)


def test_a_sample_has_names_that_the_fit_had(path: Path, scorer: Scorer):
    drawn = sample(path, 3000)
    names = scorer.artifact.schema.columns[0].categories
    counts = drawn["gate"].value_counts()
    assert set(counts["gate"]) <= set(names)
    beyond = counts.filter(pl.col("gate").is_in(list(names[PLACES:])))
    assert len(beyond) > 40
    fitted = rides(8000, 0)["gate"].is_in(list(names[PLACES:])).mean()
    assert beyond["count"].sum() / 3000 == pytest.approx(fitted, abs=0.05)


def test_it_survives_the_artifact_and_one_of_before_has_none(scorer: Scorer):
    vectorizer = scorer.artifact.vectorizer
    data = json.loads(json.dumps(vectorizer.to_json()))
    assert Vectorizer.from_json(vectorizer.schema, data).shared == vectorizer.shared
    del data["shared"]
    assert Vectorizer.from_json(vectorizer.schema, data).shared == {}


def test_it_is_said_how_many_names_are_not_told_apart(path: Path, scorer: Scorer, fit: Table):
    artifact = scorer.artifact
    said = dict(names_in_words(artifact.schema, artifact.vectorizer.shared))
    assert said == {"names": f"{GATES - PLACES} of {GATES} of gate share one indicator"}
    assert "share one indicator" in call("inspect", path).stdout
    found = {c.name: c for c in profile_columns(fit)}
    (note,) = found["gate"].warnings
    assert note.startswith(f"{MANY}: {GATES - PLACES} of the {GATES} values that have a name")
    assert note.endswith("an unseen event, unless names come anew all the time.")
    assert found["gate"].rare == 0 and found["gate"].distinct == GATES
    rare = pl.concat(
        [rides(2000, 0), rides(9, 1).with_columns(gate=pl.Series(map(str, range(9))))]
    )
    column = profile_frame(rare, TrainConfig())[0]
    assert column.rare == pytest.approx(9 / 2009, abs=0.003) and column.distinct is None
    assert "counts as one of the rare ones" in column.warnings[0]


def test_the_bins_of_drift_are_those_of_the_indicators(fit: Table):
    bins = int(bins_of(fit.schema)[0])
    assert bins == PLACES + 3
    later = pl.concat(
        [
            rides(500, 3),
            rides(7, 4).with_columns(gate=pl.lit("new")),
            rides(5, 5).with_columns(gate=pl.lit(None, pl.String)),
        ]
    )
    schema = replace(
        fit.schema,
        columns=(replace(fit.schema.columns[0], required=False), *fit.schema.columns[1:]),
    )
    table = checked_table(schema, later)
    counts = count_bins(schema, np.zeros((1, 9)), table)[0]
    codes = table.codes[:, 0]
    own = [int((codes == code).sum()) for code in range(PLACES)]
    assert counts[:bins].tolist() == [*own, 500 - sum(own), 7, 5]


@pytest.mark.parametrize("by", ["file", "time"])
def test_where_names_come_anew_all_the_time_a_new_one_is_no_unseen_event(by: str):
    """Storms, of which each has a name and forty records in a row."""
    n = 6000
    hour = np.arange(n) if by == "file" else np.random.default_rng(0).permutation(n)
    storm = pl.Series([f"storm {h // 40}" for h in hour])
    frame = rides(n, 0).with_columns(gate=storm)
    settings = {}
    if by == "time":
        start = pl.datetime(2024, 1, 1)
        frame = frame.with_columns(at=start + pl.duration(hours=pl.Series(hour)))
        settings["time"] = "at"
    vectorizer = fit_vectorizer(table_of(frame, **settings))
    assert vectorizer.shared["gate"][-1] == 1
    assert "gate" not in unseen(vectorizer, frame[:99].with_columns(gate=pl.lit("storm 151")))


def test_two_new_names_are_more_than_chance_where_all_recur_often():
    codes = np.tile(np.arange(120, dtype=np.int32), 100)
    for new, anew in ((0, False), (1, False), (2, True)):
        late = np.repeat(np.arange(120, 120 + new, dtype=np.int32), 30)
        assert come_anew(np.append(codes, late), 125) == anew
    rng = np.random.default_rng(0)
    draws = [come_anew(rng.integers(0, 900, 2500).astype(np.int32), 900) for _ in range(200)]
    assert np.mean(draws) < 0.02


def test_what_a_past_has_not_met_is_unseen_to_it():
    n = 4000
    frame = rides(n, 0).with_columns(
        gate=pl.when(pl.int_range(n) >= n - 2).then(pl.lit("late")).otherwise("gate"),
        station=pl.lit("S"),
        zone=pl.lit("Z"),
    )
    table = table_of(frame)
    known = fit_vectorizer(table)
    assert "late" in table.schema.columns[0].categories[PLACES:]
    found = features_then(table, np.arange(n - 2), known)
    assert found.unseen[n - 2 :, 0].all() and not found.unseen[: n - 2, 0].any()


def test_a_name_of_one_record_is_unseen_to_all_others():
    n = 4000
    frame = rides(n, 0).with_columns(
        gate=pl.when(pl.int_range(n) == 7).then(pl.lit("once")).otherwise("gate"),
        station=pl.lit("S"),
        zone=pl.lit("Z"),
    )
    table = table_of(frame)
    assert "once" in table.schema.columns[0].categories[PLACES:]
    got = unseen_by_others(table)
    assert np.flatnonzero(got).tolist() == [7]
    others = fit_vectorizer(table.take(np.delete(np.arange(n), 7)))
    assert others.transform(table.take(np.array([7]))).unseen[0].sum() == got[7] == 1


def test_a_fit_that_goes_on_keeps_names(path: Path, tmp_path: Path):
    more = pl.concat([rides(8000, 0), rides(4000, 5)])
    settings = {**SMALL, "report": False, "continue_from": path}
    after = train(more, tmp_path / "next", alpha=0.01, **settings)
    assert after.score(rides(2000, 6), explain=0).is_anomaly.mean() < 0.03
    assert after.artifact.vectorizer.shared["gate"][-1] == 0


def test_exclusions_of_more_pairs_than_fit_into_memory_are_refused():
    names = tuple(map(str, range(20_000)))
    columns = tuple(Column(name, Kind.CATEGORICAL, categories=names) for name in "ab")
    with pytest.raises(ArtifactError, match="more pairs of values than training writes"):
        check_exclusions(Schema(columns), (), {}, [Exclusion("a", 0, "b", (0,))])


def test_names_by_which_a_number_goes_are_expected_where_only_others_are_excluded(tmp_path: Path):
    rng = np.random.default_rng(0)
    shop, kind = rng.integers(0, 2 * PLACES, 6000), rng.choice(["adult", "child"], 6000)
    beer = np.where(kind == "child", "none", rng.choice(["none", "small", "large"], 6000))
    names = pl.Series("shop", [f"s{i:03}" for i in shop])
    frame = pl.DataFrame({"kind": kind, "beer": beer, "rent": 900.0 + 13 * shop}).with_columns(
        names
    )
    own = train(frame, tmp_path / "art", alpha=0.01, report=False, seed=1, **SMALL)
    vectorizer = own.artifact.vectorizer
    assert [each.by for each in vectorizer.lookups] == [("shop",)] and vectorizer.exclusions
    assert "shop" not in {name for e in vectorizer.exclusions for name in (e.column, e.other)}
    verdicts = own.score(frame.head(200).with_columns(rent=pl.col("rent") + 6))
    alarmed = [each for each in verdicts.reasons if each]
    assert len(alarmed) == verdicts.is_anomaly.sum() > 100
    assert {each[0].column for each in alarmed} <= {"rent", "shop"}
