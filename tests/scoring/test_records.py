"""Records as JSON carries them become typed columns, and each broken rule is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.errors import RecordError, SchemaError
from vaewatch.scoring.schema import (
    Column,
    Kind,
    Schema,
    missing_code,
    other_code,
    require_columns,
)
from vaewatch.scoring.spelling.values import parse_boolean, parse_category, parse_number
from vaewatch.scoring.table import MOST_HINTS, parse_records, table_of

SCHEMA = Schema(
    (
        Column("amount", Kind.NUMERIC),
        Column("age", Kind.NUMERIC, required=False),
        Column("country", Kind.CATEGORICAL, categories=("NL", "DE")),
        Column("express", Kind.BOOLEAN),
    )
)
GOOD: dict[str, Any] = {"amount": 1.5, "age": None, "country": "NL", "express": True}


def test_a_good_record_becomes_a_row():
    table = table_of(SCHEMA, [GOOD])
    assert table.numbers[0, 0] == 1.5 and math.isnan(table.numbers[0, 1])
    assert table.codes.tolist() == [[0, 1]]


def test_unseen_and_missing_categories_have_codes_of_their_own():
    rows = [{**GOOD, "country": country} for country in ("DE", "XX", None, "")]
    assert table_of(SCHEMA, rows).codes[:, 0].tolist() == [1, 2, 3, 3]


def test_an_unseen_category_is_observed_as_it_came():
    table = table_of(SCHEMA, [{**GOOD, "country": "Åland\n"}])
    assert table.observed(0, SCHEMA.columns[2]) == "Åland\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"amount": "12"}, "column 'amount' must be a number, got a string"),
        ({"amount": True}, "column 'amount' must be a number, got a boolean"),
        ({"amount": [1]}, "column 'amount' must be a number, got a list"),
        ({"amount": math.inf}, "column 'amount' must be a finite number, got infinity"),
        ({"amount": 10**400}, "column 'amount' must be a finite number, got infinity"),
        ({"country": {"a": 1}}, "column 'country' must be a text, got an object"),
        ({"express": "perhaps"}, "column 'express' must be true, false, 0 or 1, got a string"),
        ({"express": 2}, "column 'express' must be true, false, 0 or 1, got a number"),
    ],
)
def test_a_broken_rule_is_named_without_the_value(change: dict[str, Any], message: str):
    with pytest.raises(RecordError) as caught:
        table_of(SCHEMA, [GOOD, {**GOOD, **change}])
    assert str(caught.value) == f"{message} (record 1)."


def test_a_required_column_must_be_named_but_may_be_null():
    absent = {name: value for name, value in GOOD.items() if name != "amount"}
    with pytest.raises(RecordError, match="column 'amount' must be there; send null"):
        table_of(SCHEMA, [absent])
    assert math.isnan(table_of(SCHEMA, [{**GOOD, "amount": None}]).numbers[0, 0])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("amuont", ", but there is only 'amuont'"),
        ("AMOUNT", ", but there is only 'AMOUNT'"),
        ("amo\x1bunt", ", but there is only 'amo\\x1bunt'"),
        ("price", ""),  # a name that is like none may be a value that went astray
        (7, ""),
    ],
)
def test_a_misspelt_column_is_named_beside_the_one_that_is_meant(name: Any, hint: str):
    misspelt = {name if known == "amount" else known: value for known, value in GOOD.items()}
    with pytest.raises(RecordError) as caught:
        table_of(SCHEMA, [misspelt])
    rule = f"column 'amount' must be there{hint}; send null if its value is not known"
    assert str(caught.value) == f"{rule} (record 0)."


def test_a_column_that_is_known_is_no_misspelling():
    schema = Schema(SCHEMA.columns, id="amounts", label="amount2", ignored=("amount_",))
    rest = {name: value for name, value in GOOD.items() if name != "amount"}
    with pytest.raises(RecordError, match="column 'amount' must be there; send null"):
        table_of(schema, [{**rest, "amounts": 1, "amount2": 1, "amount_": 1}])


def test_many_records_with_misspelt_columns_get_hints_at_the_first_ones_alone():
    misspelt = {"amuont": 1.5, "country": "NL", "express": True}
    _, problems = parse_records(SCHEMA, [misspelt] * 100)
    hinted = ["there is only 'amuont'" in problem.message for problem in problems]
    assert hinted == [True] * MOST_HINTS + [False] * (100 - MOST_HINTS)


def test_a_column_that_was_missing_before_may_be_absent():
    absent = {name: value for name, value in GOOD.items() if name != "age"}
    assert math.isnan(table_of(SCHEMA, [absent]).numbers[0, 1])


def test_what_is_no_object_is_refused():
    with pytest.raises(
        RecordError, match="a record must be an object of column: value, got a list"
    ):
        table_of(SCHEMA, [[1, 2]])


def test_every_problem_is_reported_in_order_and_good_rows_are_kept():
    table, problems = parse_records(SCHEMA, [{**GOOD, "express": "x"}, GOOD, {"amount": "x"}])
    assert [p.record for p in problems] == [0, 2, 2, 2]
    assert table.numbers[1, 0] == 1.5


@given(st.lists(st.dictionaries(st.text(max_size=8), st.none() | st.floats() | st.text())))
def test_any_json_gives_rows_or_problems(records: list[dict[str, Any]]):
    table, problems = parse_records(SCHEMA, records)
    assert len(table) == len(records)
    assert {p.record for p in problems} == {
        i for i, r in enumerate(records) if not {"amount", "country", "express"} <= r.keys()
    }


PARSE: dict[Kind, Any] = {
    Kind.NUMERIC: parse_number,
    Kind.CATEGORICAL: parse_category,
    Kind.BOOLEAN: parse_boolean,
}
BROKEN = object()
VALUES = st.one_of(
    st.none() | st.booleans() | st.floats() | st.integers(-1, 2) | st.text(max_size=2),
    st.integers(-(10**400), 10**400),
    st.sampled_from(["NL", "DE", "true", " TRUE ", "0", 0.0, -0.0, 1.0, [], {}, [1], {"a": 1}]),
)


def parsed(column: Column, record: dict[str, Any]) -> Any:
    """One cell by its own rule."""
    try:
        return PARSE[column.kind](record.get(column.name), column)
    except Exception as bad:
        assert type(bad).__name__ == "BadCell", bad
        return BROKEN


def code_of(column: Column, value: Any) -> int:
    if value is None or value is BROKEN:
        return missing_code(column)
    if column.kind is Kind.BOOLEAN:
        return int(value)
    names = column.categories
    return names.index(value) if value in names else other_code(column)


@given(
    st.data(),
    st.dictionaries(
        st.sampled_from([column.name for column in SCHEMA.columns]),
        st.sampled_from([VALUES, st.text(max_size=2), st.floats(), st.none(), st.integers()]),
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_column_at_once_is_the_same_as_cell_by_cell(
    data: st.DataObject, kinds: dict[str, st.SearchStrategy[Any]]
):
    record = st.fixed_dictionaries({name: kinds.get(name, VALUES) for name in SCHEMA.names})
    records = data.draw(st.lists(record, max_size=6))
    table, problems = parse_records(SCHEMA, records)
    broken = [
        (i, column.name)
        for i, record in enumerate(records)
        for column in (*SCHEMA.numeric, *SCHEMA.discrete)
        if parsed(column, record) is BROKEN
    ]
    assert [(problem.record, problem.column) for problem in problems] == broken
    for column in SCHEMA.columns:
        at, want = SCHEMA.place[column.name], [parsed(column, record) for record in records]
        if column.kind is Kind.NUMERIC:
            numbers = [math.nan if value is BROKEN else value for value in want]
            assert list(map(repr, table.numbers[:, at].tolist())) == list(map(repr, numbers))
        else:
            assert list(table.texts[at]) == [None if v is BROKEN else v for v in want]
            assert table.codes[:, at].tolist() == [code_of(column, value) for value in want]


@given(st.integers(min_value=-(2**53), max_value=2**53), st.booleans())
def test_an_integer_category_is_its_digits_in_any_type(number: int, as_float: bool):
    schema = Schema((Column("code", Kind.CATEGORICAL, categories=(str(number),)),))
    value = float(number) if as_float else number
    assert np.array_equal(table_of(schema, [{"code": value}]).codes, [[0]])


def test_carried_columns_are_not_among_those_that_may_be_renamed():
    schema = Schema(
        (Column("amount", Kind.NUMERIC),), id="order", label="fraud", ignored=("note",)
    )
    with pytest.raises(SchemaError) as refused:
        schema.require(["order", "fraud", "note", "sum"])
    assert str(refused.value).endswith("Columns the schema does not know: 'sum'.")


def test_a_column_that_differs_in_its_case_or_a_letter_is_asked_for():
    schema = Schema((Column("gross", Kind.NUMERIC), Column("net pay", Kind.NUMERIC)))
    with pytest.raises(SchemaError) as refused:
        schema.require(["GROSS", "netpay", "sum"])
    assert str(refused.value) == (
        "the input must have every column of the schema, but lacks 'gross', 'net pay'. Did you "
        "mean 'gross' by 'GROSS'? Did you mean 'net pay' by 'netpay'? Columns the schema does not "
        "know: 'GROSS', 'netpay', 'sum'."
    )
    with pytest.raises(SchemaError, match=r"--time column 'Gross' .* Did you mean 'GROSS'\?"):
        require_columns(["GROSS", "sum"], ["Gross"], "--time")
