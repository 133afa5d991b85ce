"""Names of entities, as JSON and files carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.series.entity import (
    LONGEST,
    entities_of_column,
    entities_of_records,
    entity_of,
    in_order,
)


@pytest.mark.parametrize(
    ("value", "name"),
    [("m1", "m1"), (7, "7"), (-7, "-7"), (7.0, "7"), (0.5, "0.5"), ("ü" * LONGEST, "ü" * LONGEST)],
)
def test_a_text_or_a_number_names_an_entity(value: Any, name: str):
    assert entity_of(value) == name


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (None, "missing", "column 'm' must name the record's entity, got nothing"),
        ("", "missing", "column 'm' must name the record's entity, got nothing"),
        (float("nan"), "missing", "column 'm' must name the record's entity, got nothing"),
        (
            "x" * 10_000,
            "range",
            "column 'm' must be a name of at most 1,000 characters, got 10,000",
        ),
        (True, "type", "column 'm' must be a name, a text or a number, got a boolean"),
        ([1], "type", "column 'm' must be a name, a text or a number, got a"),
        ({}, "type", "column 'm' must be a name, a text or a number, got a"),
    ],
)
def test_anything_else_is_a_problem_in_words(value: Any, code: str, message: str):
    problems: list[Problem] = []
    assert entities_of_records("m", [{"m": "a"}, {"m": value}, {}], problems) == ["a", "", ""]
    assert [(p.record, p.column, p.code) for p in problems] == [
        (1, "m", code),
        (2, "m", "missing"),
    ]
    assert problems[0].message.startswith(message)


def test_a_column_gives_the_names_and_problems_that_its_records_give():
    cells = ["a", None, "", "x" * 1001, "ü" * 1000, " a "]
    texts: list[Problem] = []
    records: list[Problem] = []
    names = entities_of_column(pl.Series("m", cells), texts)
    assert entities_of_records("m", [{"m": cell} for cell in cells], records) == [
        "a", "", "", "", "ü" * 1000, " a ",
    ]  # fmt: skip
    assert [names[i] for i in (0, 4, 5)] == ["a", "ü" * 1000, " a "]
    assert [(p.record, p.code, p.message) for p in texts] == [
        (p.record, p.code, p.message) for p in records
    ]


@given(st.lists(st.tuples(st.sampled_from(["b", "a", "ab"]), st.integers(0, 5))))
def test_records_are_in_order_of_entity_and_time_and_as_they_came(records: list[tuple[str, int]]):
    names, moments = [name for name, _ in records], np.array([m for _, m in records], np.int64)
    places = range(len(records))
    assert in_order(names, moments).tolist() == sorted(places, key=lambda i: records[i])
    assert in_order(None, moments).tolist() == sorted(places, key=lambda i: records[i][1])
