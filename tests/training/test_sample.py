"""`vaewatch sample`: records like those that the artifact was fitted to."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from tests.conftest import call, make_frame
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.feature import Feature
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import Form
from vaewatch.scoring.time.parts import Part
from vaewatch.scoring.time.time import Time
from vaewatch.training.marginals import Marginals, in_shares
from vaewatch.training.sample import Decoded, records_of, sample, times_of
from vaewatch.training.train import train

FARTHEST = 0.1  # in total variation, and in the Kolmogorov-Smirnov statistic


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("sample") / "it"
    settings = {"steps": 400, "width": 64, "members": 4, "served": 2}
    train(make_frame(1000), path, report=False, alpha=0.05, id="order", **settings)
    return sample(path, 4000)


def shares(series: pl.Series) -> dict[str | None, float]:
    return dict(series.cast(pl.String).value_counts(normalize=True).iter_rows())


@pytest.mark.parametrize("name", ["country", "express", "currency"])
def test_events_come_as_often_as_in_normal_records(drawn: pl.DataFrame, name: str):
    want, got = shares(make_frame(4000, seed=1)[name]), shares(drawn[name])
    assert sum(abs(want.get(k, 0) - got.get(k, 0)) for k in want | got) / 2 < FARTHEST


@pytest.mark.parametrize("name", ["amount", "items", "age", "version"])
def test_numbers_are_spread_as_in_normal_records(drawn: pl.DataFrame, name: str):
    want, got = make_frame(4000, seed=1)[name].drop_nulls(), drawn[name].drop_nulls()
    assert ks_2samp(want, got).statistic < FARTHEST


def test_missing_values_come_at_their_rate(drawn: pl.DataFrame):
    assert drawn["age"].null_count() / len(drawn) == pytest.approx(0.1, abs=0.05)
    assert drawn["amount"].null_count() == 0


def test_columns_go_together_as_in_normal_records(drawn: pl.DataFrame):
    both = drawn.drop_nulls("age")
    assert np.corrcoef(both["amount"], both["age"])[0, 1] > 0.7  # in the data: 0.999


def test_a_drawn_record_is_one_that_the_artifact_takes(artifact_path: Path, scorer: Scorer):
    drawn = sample(artifact_path, 200)
    table = checked_table(scorer.artifact.schema, drawn)
    features = scorer.artifact.vectorizer.transform(table)
    assert drawn.columns == list(scorer.artifact.schema.names)
    assert drawn["items"].dtype == pl.Int64 and drawn["express"].dtype == pl.Boolean
    assert not features.unseen.any()
    for column in scorer.artifact.schema.numeric:
        assert drawn[column.name].drop_nulls().is_between(column.low, column.high).all()


def fitted(values: np.ndarray) -> Marginals:
    schema = Schema((Column("c", Kind.NUMERIC, low=0.0, high=1.0),))
    return Marginals.of(Table(schema, values[:, None], np.empty((len(values), 0), np.int32), ()))


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)), st.integers(1, 300))
def test_draws_take_the_columns_values_in_their_own_order(values: np.ndarray, n: int):
    draws = np.random.default_rng(n).normal(size=n)
    placed = fitted(values).place("c", draws)
    assert np.all(np.diff(placed[np.argsort(draws)]) >= 0)
    assert values.min() <= placed.min() and placed.max() <= values.max()


def test_a_column_that_is_mostly_zero_comes_out_so():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.9, 0.0, rng.exponential(size=5000))
    values[::7] = np.nan  # what is missing has no place in a quantile
    placed = fitted(values).place("c", rng.normal(size=3000))
    assert np.mean(placed == 0) == pytest.approx(0.9, abs=0.01)
    assert ks_2samp(placed, values[~np.isnan(values)]).statistic < 0.02


def test_a_column_of_few_values_among_many_records_has_its_own():
    values = np.full(230_001, np.nan)
    values[7::50_000] = 1, 2, 3, 4, 5  # none of them at every eleventh record
    assert sorted(set(fitted(values).place("c", np.arange(5.0)).round())) == [1, 2, 3, 4, 5]


def test_a_column_without_quantiles_says_so():
    with pytest.raises(ArtifactError, match=r"must have quantiles of column 'c', but has none"):
        Marginals({}).place("c", np.arange(3.0))


def test_many_times_take_little_memory():
    time = Time("t", Form.OFFSET, last="2026-03-29T20:00:00Z")
    parts = {Part.WEEKDAY: np.random.default_rng(0).random(20_000) * 7}
    tracemalloc.start()
    drawn = times_of(time, parts, 20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawn.n_unique() == 7 and drawn.max() == "2026-03-29T20:00:00Z"
    assert peak < 10e6  # it was 1.4 kB a record


def test_one_record_is_drawn_like_the_first_of_many(artifact_path: Path):
    one, many = sample(artifact_path, 1, seed=4), sample(artifact_path, 50, seed=4)
    assert one.equals(many.head(1))


def drawn_letters(likely: np.ndarray, share: float) -> np.ndarray:
    """Draw "A" or "B" for each record; likely: the (N,) means of A's indicator, of that share."""
    column = Column("c", Kind.CATEGORICAL, categories=("A", "B"))
    features = (Feature("c", 0, share, 0.3), Feature("c", 1, 1 - share, 0.3))
    mean = np.stack([likely - share, share - likely], axis=1) / 0.3
    vectorizer = Vectorizer(Schema((column,)), features, {})
    drawn = records_of(vectorizer, Marginals({}), Decoded(mean, mean), np.random.default_rng(0))
    return drawn["c"].to_numpy()


def test_an_event_has_its_share_of_the_records_and_comes_where_it_is_likelier():
    likely = np.repeat([0.8, 0.4], 10_000)  # odds of 4 and of 2 / 3: six to one
    first, second = np.split(drawn_letters(likely, share=0.3) == "A", 2)
    p, q = first.mean(), second.mean()
    assert (p + q) / 2 == pytest.approx(0.3, abs=0.01)
    assert (p / (1 - p)) / (q / (1 - q)) == pytest.approx(6, rel=0.1)


def test_an_event_that_is_likely_nowhere_is_still_drawn():
    assert np.mean(drawn_letters(np.zeros(20_000), share=0.1) == "A") == pytest.approx(
        0.1, abs=0.01
    )


weights = arrays(
    np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(0.01, 1)
)


@given(weights)
def test_probabilities_meet_the_shares(weights: np.ndarray):
    shares = np.array([0.5, 0.3, 0.2])
    chances = in_shares(weights, shares)
    assert chances.min() >= 0 and chances.sum(1) == pytest.approx(1)
    assert chances.mean(0) == pytest.approx(shares, abs=1e-3)


def test_the_command_writes_files_as_they_are_named(artifact_path: Path, tmp_path: Path):
    words = ("sample", artifact_path, "--n", 7)
    for name in ("a.csv", "a.ndjson", "a.parquet", "a.csv.gz"):
        assert call(*words, "--out", tmp_path / name).returncode == 0
    csv, ndjson = pl.read_csv(tmp_path / "a.csv"), pl.read_ndjson(tmp_path / "a.ndjson")
    assert len(csv) == len(ndjson) == 7
    parquet = pl.read_parquet(tmp_path / "a.parquet")
    assert parquet["amount"].to_list() == csv["amount"].to_list()
    assert (
        gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()
    )
    done = call(*words, "--out", tmp_path / "a.json")
    assert done.returncode == 2 and "name it .ndjson" in done.stderr
    assert csv["items"].to_list() == ndjson["items"].to_list()
    assert pl.read_csv(io.StringIO(call(*words).stdout)).equals(csv)
    assert call(*words, "--to", "ndjson").stdout == (tmp_path / "a.ndjson").read_text()
    assert call(*words, "--seed", 1).stdout != call(*words).stdout
