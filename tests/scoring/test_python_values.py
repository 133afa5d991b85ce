"""Records from Python may hold what NumPy, pandas and databases put into them."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vaewatch.scoring.errors import RecordError, SchemaError, SettingError
from vaewatch.scoring.files.frames import frame_of
from vaewatch.scoring.intake.values import plain
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.client import ServiceError
from vaewatch.service.client.records import rows_of

RECORD: dict[str, Any] = {
    "amount": 100.5,
    "items": 20,
    "age": None,
    "country": "NL",
    "express": True,
    "currency": "EUR",
    "version": 3,
}


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.datetime64("NaT"), None),
        (Decimal("1.25"), 1.25),
        (Decimal("7"), 7),
        (Fraction(1, 4), 0.25),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-01-02 03:04"), "2026-01-02T03:04:00"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([np.int8(1), {"a": Decimal("2")}], [1, {"a": 2}]),
        (np.array(1.5), 1.5),
        (np.timedelta64("NaT"), None),
        (np.ma.masked, None),
        (np.ma.masked_array(1.5, mask=True), None),
        (np.ma.masked_array(1.5, mask=False), 1.5),
        (Fraction(10**400), math.inf),
        (Fraction(-(10**400)), -math.inf),
    ],
)
def test_values_become_those_of_json(value: Any, want: Any):
    got = plain(value)
    assert got == want and type(got) is type(want)


def test_a_signalling_nan_is_missing(scorer: Scorer):
    odd = {**RECORD, "age": Decimal("sNaN")}
    assert scorer.score([odd]).score[0] == scorer.score([RECORD]).score[0]
    assert rows_of([odd]) == [RECORD]


def test_a_list_in_itself_is_named(scorer: Scorer):
    inner: list[Any] = []
    inner.append(inner)
    with pytest.raises(RecordError, match="'country' must be .* got a list in itself"):
        scorer.score([{**RECORD, "country": inner}])


@pytest.mark.parametrize(
    "value",
    [
        1j,
        b"raw",
        pd.Interval(0, 1),
        pd.Period("2026-01"),
        object(),
        np.ones(2),
        np.timedelta64(5, "s"),
    ],
)
def test_what_json_does_not_have_is_named(scorer: Scorer, value: Any):
    rule = "column 'amount' must be a number, a text or a boolean, got a"
    with pytest.raises(RecordError, match=rule):
        scorer.score([{**RECORD, "amount": value}])
    with pytest.raises(RecordError, match=rule):
        rows_of([{**RECORD, "amount": value}])


def test_a_record_of_numpy_and_decimal_scores_as_one_of_plain_numbers(scorer: Scorer):
    odd = {
        **RECORD,
        "amount": Decimal("100.5"),
        "items": np.int32(20),
        "age": pd.NA,
        "express": np.bool_(True),
        "moment": object(),  # no column of the schema
    }
    assert scorer.score([odd]).score[0] == scorer.score([RECORD]).score[0]


def test_verdicts_can_be_sliced_and_masked(scorer: Scorer):
    verdicts = scorer.score([{**RECORD, "amount": x} for x in (100.0, 1e6, 101.0)], explain=2)
    assert len(verdicts[:2]) == 2 and verdicts[:2].score[1] == verdicts[1].score
    assert verdicts[-1].score == verdicts[2].score == verdicts[np.int64(2)].score
    alarms = verdicts[verdicts.is_anomaly]
    assert alarms.score.tolist() == [verdicts[1].score]
    assert alarms.parts is not None and alarms[0].reasons == verdicts[1].reasons


@pytest.mark.parametrize("index", [None, np.bool_(True), np.zeros((1, 1), int), np.array(2.0)])
def test_an_index_of_another_shape_is_an_index_error(scorer: Scorer, index: Any):
    with pytest.raises(IndexError):
        scorer.score([RECORD])[index]


def test_verdicts_are_equal_where_all_of_them_is(scorer: Scorer):
    one, two = scorer.score([RECORD, RECORD]), scorer.score([RECORD, RECORD])
    assert one == two and one != one[:1] and one[np.array(1)] == two[1]
    assert one != scorer.score([RECORD, {**RECORD, "amount": 1e6}])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"alpha": "0.01"}, "alpha must be a number, got '0.01'"),
        ({"explain": 1.5}, "explain must be a whole number of at least 0, got 1.5"),
        ({"explain": "3"}, "explain must be a whole number of at least 0, got '3'"),
        ({"explain": -1}, "explain must be a whole number of at least 0, got -1"),
    ],
)
def test_what_is_asked_wrongly_is_named(scorer: Scorer, asked: dict[str, Any], message: str):
    with pytest.raises(SettingError, match=message):
        scorer.score([RECORD], **asked)


@pytest.mark.parametrize("data", [{"amount": 1}, "amount", pd.Series([1.0])])
def test_what_is_no_list_of_records_is_refused(scorer: Scorer, data: Any):
    with pytest.raises(SchemaError, match="a DataFrame or a list of records"):
        scorer.score(data)


def test_the_client_wants_a_list():
    with pytest.raises(ServiceError, match="Put a single record into a list"):
        rows_of({"amount": 1})


@pytest.mark.parametrize(
    ("values", "got"),
    [
        (pd.period_range("2026-01", periods=2, freq="M"), "a Period"),
        (pd.arrays.IntervalArray.from_breaks([0, 1, 2]), "a Interval"),
        (np.array([1j, 2]), "complex numbers"),
        ([object(), object()], "a object"),
    ],
)
def test_a_column_that_no_record_can_have_is_named(values: Any, got: str):
    with pytest.raises(SchemaError, match=f"column 'odd' must hold numbers.*got {got}"):
        frame_of(pd.DataFrame({"odd": values}))


@pytest.mark.parametrize("column", ["country", "express"])
@pytest.mark.parametrize("values", [[{"NL"}], [["NL"]], [{"a": 1}]])
def test_a_nested_column_is_named(scorer: Scorer, column: str, values: list[Any]):
    frame = pd.DataFrame([RECORD]).assign(**{column: values})
    with pytest.raises(SchemaError, match=f"column '{column}' must hold .* got List"):
        scorer.score(frame)


def test_a_column_twice_is_named():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(SchemaError, match="column 'a' must be in the input once, got it twice"):
        frame_of(frame)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (pd.arrays.SparseArray([0.0, 1.5]), [0.0, 1.5]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.Categorical([1, 2]), [1, 2]),
        (pd.Categorical(["b", 1]), ["b", "1"]),
        ([Decimal("1.5"), None], [1.5, None]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        ([uuid.UUID(int=1), None], [str(uuid.UUID(int=1)), None]),
    ],
)
def test_other_columns_of_pandas_are_read(values: Any, want: list[Any]):
    assert frame_of(pd.DataFrame({"x": values}))["x"].to_list() == want
