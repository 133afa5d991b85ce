"""Numbers that follow from what other columns hold: which are found, and who breaks one."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SMALL
from vaewatch.scoring.features.between.in_words import looked_up
from vaewatch.scoring.features.between.lookups import Lookups
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.between.exclusions import DETERMINED

PLACES = ["Alne", "Brig", "Cors", "Dorn", "Elsk", "Farn", "Gath"]
FIRST, EACH = {"letter": 1.5, "parcel": 4.2, "express": 9.9}, {"letter": 0.1, "parcel": 0.55}


def parcels(n: int, seed: int) -> pl.DataFrame:
    """Parcels: two places give the distance, and the service gives a line of the weight."""
    rng = np.random.default_rng(seed)
    ways = np.random.default_rng(7).integers(20, 900, (7, 7)) + 0.5
    origin, to = rng.integers(0, 7, (2, n))
    service = rng.choice(list(FIRST), n, p=[0.6, 0.3, 0.1])
    kg = np.round(rng.gamma(2, 2, n) + 0.1, 2)
    price = [FIRST[s] + EACH.get(s, 1.3) * each for s, each in zip(service, kg, strict=True)]
    return pl.DataFrame(
        {
            "origin": np.array(PLACES)[origin],
            "to": np.array(PLACES)[to],
            "km": ways[origin, to],
            "service": service,
            "kg": kg,
            "price": np.round(price, 2),
            "hours": np.round(rng.gamma(4, 6, n), 1),
        }
    )


def table_of(frame: pl.DataFrame) -> Table:
    return checked_table(infer_schema(frame, TrainConfig()), frame)


def unseen(vectorizer: Vectorizer, frame: pl.DataFrame) -> list[str]:
    """Return the columns of each record that hold something unseen, of all and each by itself."""
    table = checked_table(vectorizer.schema, frame)
    marks = vectorizer.transform(table).unseen
    for i in range(0, len(table), 40):
        assert (vectorizer.transform(table.take(np.array([i]))).unseen == marks[i]).all()
    names = vectorizer.schema.names
    return [" ".join(names[i] for i in np.flatnonzero(row)) for row in marks]


@pytest.fixture(scope="module")
def vectorizer() -> Vectorizer:
    return fit_vectorizer(table_of(parcels(4000, 0)))


def test_a_number_by_two_columns_and_a_line_by_one_are_found(vectorizer: Vectorizer):
    words = [looked_up(each) for each in vectorizer.lookups]
    assert words == ["km by origin and to", "price by service, a line of kg"]
    ways, prices = vectorizer.lookups
    assert len(ways.rows) == 49 and len(prices.rows) == 3
    assert all(low <= 0 <= high and high - low < 1e-6 for low, high in [(ways.low, ways.high)])
    names = next(c for c in vectorizer.schema.discrete if c.name == "service").categories
    for code, x, y, slope, *_ in prices.rows:
        service = names[int(code)]
        assert slope == pytest.approx(EACH.get(service, 1.3), abs=1e-3)
        assert y - slope * x == pytest.approx(FIRST[service], abs=0.01)


CHANGES: dict[str, tuple[pl.Expr, str]] = {
    "another distance": (pl.col("km") + 40, "km"),
    "a price by ten": (pl.col("price") * 1.1 + 0.2, "price"),
    "another weight": (pl.col("kg") + 3, "price"),  # any of the three may be the wrong one
    "as it was": (pl.col("km"), ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_who_has_another_number_has_an_unseen_one(vectorizer: Vectorizer, name: str):
    change, column = CHANGES[name]
    later = parcels(400, 1)
    changed = name.split()[-1].replace("distance", "km").replace("ten", "price")
    target = {"weight": "kg", "was": "km"}.get(changed, changed)
    found = unseen(vectorizer, later.with_columns(change.alias(target)))
    assert set(found) == {column}


def test_another_service_or_place_breaks_one(vectorizer: Vectorizer):
    later = parcels(400, 1)
    other = pl.col("service").replace(
        {"letter": "parcel", "parcel": "express", "express": "letter"}
    )
    assert set(unseen(vectorizer, later.with_columns(other))) == {"price"}
    moved = pl.col("to").replace(dict(zip(PLACES, [*PLACES[1:], PLACES[0]], strict=True)))
    assert set(unseen(vectorizer, later.with_columns(moved))) == {"km"}


def test_what_is_missing_or_new_to_the_fit_is_not_judged(vectorizer: Vectorizer):
    assert vectorizer.looked_up is not None
    later = parcels(50, 1).with_columns(km=pl.col("km") + 40, price=pl.col("price") + 3)
    for gone in (
        {"service": pl.lit("drone"), "to": pl.lit("Nowhere")},
        {"km": pl.lit(None, pl.Float64), "kg": pl.lit(None, pl.Float64)},
    ):
        table = checked_table(vectorizer.schema, later.with_columns(**gone))
        assert not vectorizer.looked_up.broken(table.numbers, table.codes).any()


def test_pairs_that_the_fit_did_not_have_are_not_judged():
    frame = parcels(4000, 0).filter((pl.col("origin") != "Alne") | (pl.col("to") != "Gath"))
    vectorizer = fit_vectorizer(table_of(frame))
    assert vectorizer.looked_up is not None
    later = parcels(2000, 1).with_columns(km=pl.col("km") + 40)
    table = checked_table(vectorizer.schema, later)
    broken = vectorizer.looked_up.broken(table.numbers, table.codes)[:, 0]
    new = ((later["origin"] == "Alne") & (later["to"] == "Gath")).to_numpy()
    assert new.any() and (broken == ~new).all()


def test_rounding_breaks_none(vectorizer: Vectorizer):
    later = parcels(400, 1)
    names = ["km", "kg", "price", "hours"]
    for kind in (np.float32, np.float16):
        rounded = [pl.Series(n, later[n].to_numpy().astype(kind).astype(float)) for n in names]
        assert set(unseen(vectorizer, later.with_columns(rounded))) == {""}


def noisy(share: float) -> pl.DataFrame:
    frame = parcels(4000, 0)
    rng = np.random.default_rng(3)
    apart = rng.normal(0, share * 250, len(frame))
    return frame.with_columns(km=pl.col("km") + pl.Series(apart), price=pl.col("hours") * 2 + 1)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (parcels(300, 0), "too few records"),
        (parcels(DETERMINED, 0).drop("kg"), "too few could have told otherwise"),
        (noisy(0.3), "what is left is as wide as what two records differ by"),
        (noisy(0.0).drop("origin", "to"), "a relation says it without looking up"),
        (parcels(4000, 0).with_columns(km=pl.int_range(4000).cast(pl.Float64)), "changes"),
    ],
)
def test_nothing_is_looked_up(frame: pl.DataFrame, why: str):
    found = [each for each in fit_vectorizer(table_of(frame)).lookups if each.along is None]
    assert found == [], why


def test_one_half_that_differs_is_enough_that_there_is_none():
    frame = parcels(4000, 0)
    later = frame.with_row_index().with_columns(
        km=pl.when(pl.col("index") > 3000).then(pl.col("km") * 1.2).otherwise(pl.col("km"))
    )
    lookups = fit_vectorizer(table_of(later.drop("index"))).lookups
    assert [each.column for each in lookups] == ["price"]


@settings(max_examples=15, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.floats(-50, 50), st.floats(-3, 3).filter(lambda slope: abs(slope) > 0.1)),
        min_size=2,
        max_size=6,
        unique=True,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_lines_are_found_and_no_later_record_breaks_one(
    lines: list[tuple[float, float]], seed: int
):
    rng = np.random.default_rng(seed)
    group, x = rng.integers(0, len(lines), 3000), np.round(rng.normal(0, 9, 3000), 3)
    first, each = np.array(lines).T
    y = first[group] + each[group] * x
    frame = pl.DataFrame({"kind": [f"k{i}" for i in group], "x": x, "y": np.round(y, 4)})
    fit = table_of(frame[:2000])
    own = fit_vectorizer(fit)
    if not own.lookups:
        assert np.ptp(first) < 2 and np.ptp(each) < 0.3  # one line fits them all
        return
    assert [set(each.names) for each in own.lookups] in (
        [{"kind", "x", "y"}],
        [{"x", "kind", "y"}],
    )
    assert own.looked_up is not None
    later = checked_table(own.schema, frame[2000:])
    assert not own.looked_up.broken(later.numbers, later.codes).any()
    wrong = later.numbers.copy()
    wrong[:, own.schema.place["y"]] += 5
    assert own.looked_up.broken(wrong, later.codes).all()


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out = tmp_path_factory.mktemp("parcels") / "artifact"
    train(parcels(3000, 0), out, alpha=0.02, report=False, **SMALL)
    return Scorer.load(out)


def test_the_reason_says_what_was_looked_up(scorer: Scorer):
    later = parcels(60, 1)
    for name, others in (("km", set()), ("price", {"kg"})):  # another weight would mend it, too
        scored = scorer.score(later.with_columns((pl.col(name) * 1.5).round(2)), explain=1)
        assert scored.is_anomaly.mean() > 0.95
        found = [own[0] for own in scored.reasons]
        assert {each.column for each in found} <= {name, *others}
        right = [each.column == name for each in found]
        assert np.mean(right) > 0.8
        expected = [each.expected for each in found if each.column == name]
        assert expected == pytest.approx(later.filter(right)[name].to_list(), abs=0.011)


def test_they_survive_the_artifact(scorer: Scorer):
    own = scorer.artifact.vectorizer
    data = json.loads(json.dumps(own.to_json()))
    again = Vectorizer.from_json(own.schema, data)
    assert again.lookups == own.lookups and len(own.lookups) == 2
    assert "along" not in data["lookups"][0] and data["lookups"][1]["along"] == "kg"
    assert Vectorizer.from_json(own.schema, data | {"lookups": []}).looked_up is None
    assert Lookups.of(own.schema, own.levels, ()) is None
