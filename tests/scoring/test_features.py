"""The network's input: scaled values, indicators, and flags of first-time events."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from vaewatch.scoring.features.feature import signed_expm1, signed_log1p
from vaewatch.scoring.features.vectorizer import Vectorizer, unseen_nats
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.table import Table, table_of
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer, is_count, skewness
from vaewatch.training.records.schema import infer_schema


@pytest.fixture
def table(mixed_frame: pl.DataFrame) -> Table:
    schema = infer_schema(mixed_frame, TrainConfig(id="order"))
    return checked_table(schema, mixed_frame)


def features_of(
    vectorizer: Vectorizer, frame: pl.DataFrame
) -> dict[tuple[str, int | None], np.ndarray]:
    x = vectorizer.transform(checked_table(vectorizer.schema, frame)).values
    return {(f.column, f.code): x[:, i] for i, f in enumerate(vectorizer.features)}


def test_features_of_the_fit_data_are_standardised(table: Table):
    vectorizer = fit_vectorizer(table)
    x = vectorizer.transform(table).values
    spread = x[:, [f.mean != 1.0 for f in vectorizer.features]]
    np.testing.assert_allclose(spread.mean(0), 0, atol=1e-4)
    of_values = [i for i, f in enumerate(vectorizer.features) if f.column in ("amount", "items")]
    np.testing.assert_allclose(x[:, of_values].std(0), 1, rtol=1e-4)


def test_a_value_is_what_a_slow_derivation_gives(table: Table, mixed_frame: pl.DataFrame):
    got = features_of(fit_vectorizer(table), mixed_frame)
    amount, items = mixed_frame["amount"].to_numpy(), np.log1p(mixed_frame["items"].to_numpy())
    np.testing.assert_allclose(
        got["amount", None], (amount - amount.mean()) / amount.std(), rtol=1e-4
    )
    np.testing.assert_allclose(
        got["items", None], (items - items.mean()) / items.std(), rtol=1e-3, atol=1e-5
    )
    country = (mixed_frame["country"] == "DE").to_numpy()
    share = country.mean()
    scaled = (country - share) * np.sqrt(-2 * np.log(share))
    np.testing.assert_allclose(got["country", 1], scaled, rtol=1e-4)


def test_a_missing_number_is_the_mean_and_a_flag(table: Table, mixed_frame: pl.DataFrame):
    got = features_of(fit_vectorizer(table), mixed_frame)
    missing = mixed_frame["age"].is_null().to_numpy()
    assert np.all(got["age", None][missing] == 0)
    assert np.all(got["age", -1][missing] > 0) and np.all(got["age", -1][~missing] < 0)


@pytest.mark.parametrize(
    ("column", "value"),
    [("country", "XX"), ("currency", "USD"), ("version", 4), ("amount", None), ("express", None)],
)
def test_an_unseen_value_raises_the_flag_of_its_column_alone(
    table: Table, mixed_frame: pl.DataFrame, column: str, value: object
):
    vectorizer = fit_vectorizer(table)
    record = {**mixed_frame.row(0, named=True), column: value}
    features = vectorizer.transform(table_of(vectorizer.schema, [record]))
    assert [vectorizer.schema.names[i] for i in np.flatnonzero(features.unseen)] == [column]
    of_column = vectorizer.column_of == vectorizer.schema.names.index(column)
    assert not features.values[0, of_column].any()  # the network sees the column's mean


def test_the_fit_data_raises_no_flag(table: Table):
    vectorizer = fit_vectorizer(table)
    assert not vectorizer.transform(table).unseen.any()


def test_expected_values_come_back_in_the_column_s_own_units(table: Table):
    vectorizer = fit_vectorizer(table)
    raw = vectorizer.raw(vectorizer.transform(table).values)
    for row in range(20):
        for column in table.schema.columns:
            want, got = table.observed(row, column), vectorizer.expected(raw[row], column)
            is_number = column.kind is Kind.NUMERIC and want is not None
            assert got == (pytest.approx(want, rel=1e-4) if is_number else want)


def test_a_vectorizer_survives_json(table: Table):
    vectorizer = fit_vectorizer(table)
    again = Vectorizer.from_json(vectorizer.schema, vectorizer.to_json())
    np.testing.assert_array_equal(
        again.transform(table).values, vectorizer.transform(table).values
    )


def test_counts_are_wide_skewed_whole_numbers():
    rng = np.random.default_rng(0)
    assert is_count(rng.geometric(0.02, 500).astype(float))
    assert not is_count(rng.geometric(0.02, 500) + 0.5)
    assert not is_count(-rng.geometric(0.02, 500).astype(float))
    assert not is_count(rng.integers(0, 100, 500).astype(float))
    assert not is_count(np.array([]))


def test_skewness_of_a_constant_is_0():
    assert skewness(np.full(5, 2.0)) == 0


def test_signed_log1p_is_odd_and_invertible():
    x = np.array([-5.0, -0.5, 0.0, 3.0, 1e9])
    back = signed_expm1(signed_log1p(x))
    np.testing.assert_allclose(back, x, rtol=1e-12)
    np.testing.assert_allclose(signed_log1p(-x), -signed_log1p(x))


def test_an_unseen_value_costs_more_after_more_records():
    assert unseen_nats(10) < unseen_nats(1000)


def test_a_huge_value_stays_finite(table: Table, mixed_frame: pl.DataFrame):
    vectorizer = fit_vectorizer(table)
    record = {**mixed_frame.row(0, named=True), "amount": 1e300, "items": -1e300}
    assert np.isfinite(vectorizer.transform(table_of(vectorizer.schema, [record])).values).all()
