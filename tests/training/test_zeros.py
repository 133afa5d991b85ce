"""Zero as a value of its own: where there is nothing of one thing, there is nothing of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.between.exclusions import check_exclusions
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.zeros import LEAST, has_zero


def days(n: int, seed: int) -> pl.DataFrame:
    """Days of a campaign: revenue needs conversions, and these need clicks."""
    rng = np.random.default_rng(seed)
    clicks = rng.poisson(5, n) * rng.integers(0, 3, n)
    conversions = rng.binomial(clicks, 0.25)
    revenue = np.round(conversions * rng.gamma(3, 20, n), 2)
    channel = rng.choice(["search", "mail", "print"], n)
    views = np.where(channel == "print", 0.0, np.round(rng.gamma(2, 900, n)))
    columns = {"clicks": clicks, "conversions": conversions, "revenue": revenue}
    return pl.DataFrame({**columns, "channel": channel, "views": views})


def unseen(vectorizer: Vectorizer, frame: pl.DataFrame) -> list[set[str]]:
    marks = vectorizer.transform(checked_table(vectorizer.schema, frame)).unseen
    return [{vectorizer.schema.names[i] for i in np.flatnonzero(row)} for row in marks]


def fitted(frame: pl.DataFrame) -> Vectorizer:
    return fit_vectorizer(checked_table(infer_schema(frame, TrainConfig()), frame))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("days") / "artifact"
    train(days(5000, 0), out, alpha=0.01, report=False, seed=1, **SMALL)
    return out


def test_it_is_one_where_it_comes_again_and_again_among_other_numbers():
    rng = np.random.default_rng(0)
    amounts = rng.gamma(2, 9, 4 * ENOUGH)
    often = np.where(rng.random(len(amounts)) < 2 * LEAST, 0.0, amounts)
    assert has_zero(often) and has_zero(-often)
    assert not has_zero(amounts)
    assert not has_zero(often[: ENOUGH - 1])
    assert not has_zero(np.zeros(len(amounts)))
    assert not has_zero(np.where(rng.random(len(amounts)) < LEAST / 2, 0.0, amounts))
    assert not has_zero(np.sort(often))  # one half has all of them
    assert not has_zero(often + 1)


def test_a_column_of_levels_knows_its_zero_as_one_of_them():
    rng = np.random.default_rng(0)
    frame = days(2000, 0).with_columns(code=pl.Series(rng.choice([0.0, 1.5, 7.0], 2000)))
    vectorizer = fitted(frame)
    assert "code" in vectorizer.levels
    assert "code" not in vectorizer.zeros and {"clicks", "revenue"} <= {*vectorizer.zeros}


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({"conversions": 0, "revenue": 99.9}, "revenue", 0.0),
        ({"conversions": 3, "revenue": 0.0}, "revenue", None),
        ({"clicks": 0, "conversions": 2, "revenue": 80.5}, "clicks", None),
        ({"channel": "print", "views": 1800.0}, "views", 0.0),
        ({"channel": "mail", "views": 0.0}, "views", None),
    ],
)
def test_what_never_came_with_nothing_alarms_and_the_reason_says_so(
    path: Any, change: dict[str, Any], column: str, expected: float | None
):
    scorer = Scorer.load(path)
    odd = days(100, 7).filter((pl.col("clicks") > 4) & (pl.col("channel") != "print"))
    odd = odd.with_columns(pl.lit(value).alias(name) for name, value in change.items())
    verdicts = scorer.score(odd.cast(dict(zip(odd.columns, days(9, 1).dtypes, strict=True))))
    assert verdicts.is_anomaly.all()
    for reasons in verdicts.reasons:
        [own, *_] = [each for each in reasons if each.column == column]
        assert reasons[0].column in change
        assert own.expected == expected if expected is not None else own.expected != change[column]


def test_normal_days_keep_the_budget(path: Any):
    fresh = days(8000, 3)
    scorer = Scorer.load(path)
    marks = unseen(scorer.artifact.vectorizer, fresh)
    assert sum(map(bool, marks)) <= 8
    assert 0.004 < scorer.score(fresh, explain=0).is_anomaly.mean() < 0.02


def test_a_zero_that_excludes_nothing_may_be_part_of_a_sum(tmp_path: Any):
    rng = np.random.default_rng(0)
    paid = np.round(rng.gamma(4, 25, 3000), 2)
    fee = np.where(rng.random(3000) < 0.3, 0.0, np.round(rng.gamma(2, 4, 3000), 2))
    sums = pl.DataFrame({"paid": paid, "fee": fee, "total": np.round(paid + fee, 2)})
    frame = pl.concat([sums, days(3000, 0).select("channel", "views")], how="horizontal")
    own = train(frame, tmp_path / "sums", alpha=0.01, report=False, seed=1, **SMALL)
    vectorizer = own.artifact.vectorizer
    assert set(vectorizer.zeros) == {"fee", "views"} and vectorizer.relations
    assert vectorizer.exclusions and "fee" not in {
        name for e in vectorizer.exclusions for name in (e.column, e.other)
    }
    odd = frame.head(50).with_columns(fee=pl.col("fee") + 7)
    for scorer in (own, Scorer.load(tmp_path / "sums")):
        verdicts = scorer.score(odd)
        assert verdicts.is_anomaly.all() and all(verdicts.reasons)


def test_zeros_that_come_by_chance_rule_nothing_out():
    rng = np.random.default_rng(5)
    shape = (4000, 5)
    numbers = np.where(rng.random(shape) < 0.3, 0.0, rng.gamma(2, 9, shape))
    vectorizer = fitted(pl.DataFrame(dict(zip("abcde", numbers.T, strict=True))))
    assert len(vectorizer.zeros) == 5 and vectorizer.exclusions == ()


def test_what_has_no_other_numbers_has_no_zero_of_its_own(path: Any):
    artifact = Scorer.load(path).artifact
    assert artifact.vectorizer.zeros
    own = artifact.vectorizer
    for strange in ("channel", "nothing"):
        with pytest.raises(ArtifactError, match=f"column '{strange}' has no zero"):
            check_exclusions(own.schema, own.features, own.levels, own.exclusions, (strange,))


def test_an_artifact_of_before_has_none(path: Any):
    own = Scorer.load(path).artifact.vectorizer
    old = {name: value for name, value in own.to_json().items() if name != "zeros"}
    before = Vectorizer.from_json(own.schema, {**old, "exclusions": []})
    assert before.zeros == () and own.zeros != ()
    fresh = days(500, 9)
    assert unseen(replace(own, exclusions=()), fresh) == unseen(before, fresh)
