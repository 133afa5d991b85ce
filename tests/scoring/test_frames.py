"""Cells that are parsed as numbers at once, against the same cells taken as text first."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.files.chunks import Header, Place, read_chunks
from vaewatch.scoring.files.csv import extend_rows, frame_of_rows, typed_frame_of_rows
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.files.header import read_header
from vaewatch.scoring.files.rows import Rows, read_rows, split_chunk
from vaewatch.scoring.schema import Column, Kind, Schema

SCHEMA = Schema((Column("a", Kind.NUMERIC), Column("b", Kind.CATEGORICAL, categories=("x", "1"))))
COUNT = Column("a", Kind.NUMERIC, integer=True, low=0, high=9)
COUNTS = Schema((COUNT, *SCHEMA.discrete))
NUMBER = st.one_of(st.floats(width=64).map(repr), st.integers().map(str))
ODD = [
    "",
    '""',
    '"5"',
    " 5",
    "5 ",
    "+5",
    "5.",
    ".5",
    "-0",
    "1e5",
    "1E-400",
    "1e400",
    "inf",
    "-Inf",
]
ODD += ["00012", "+", "- 5", "5.0", "2147483647", "2147483648", "-2147483649", " 7 "]
ODDER = ["nan", "NaN", "NA", "null", "0x10", "1_000", "1,5".replace(",", ";"), "true", "x", "٣"]
CELL = st.one_of(NUMBER, st.sampled_from(ODD + ODDER))
LINE_END = st.sampled_from(["\n", "\r\n"])


def split(rows: list[tuple[str, str]], line_end: str) -> tuple[Rows, Header]:
    text = "".join(f"{a},{b}{line_end}" for a, b in [("a", "b"), *rows])
    stream = io.BytesIO(text.encode())
    header, rest = read_header(stream)
    (chunk,) = read_chunks(stream, header, rest, Place(header.size, header.lines))
    return split_chunk(chunk, header), header


DIGITS = st.integers(-(2**33), 2**33).map(str) | st.sampled_from(["", "00", "-0", "+5", " 5"])


@given(
    st.lists(st.tuples(DIGITS | CELL, st.sampled_from(["x", "1", "", "new"])), min_size=1)
    | st.lists(st.tuples(DIGITS, st.just("x")), min_size=1),
    LINE_END,
    st.sampled_from([SCHEMA, COUNTS]),
)
@settings(max_examples=400, deadline=None)
def test_numbers_parsed_at_once_are_those_parsed_from_text(
    rows: list[tuple[str, str]], line_end: str, schema: Schema
):
    some, header = split(rows, line_end)
    want, problems = table_of_frame(schema, frame_of_rows(some, header, schema.names))
    got, found = table_of_frame(schema, typed_frame_of_rows(some, header, schema))
    assert got.numbers.dtype == np.float64
    np.testing.assert_array_equal(got.numbers, want.numbers)
    np.testing.assert_array_equal(got.codes, want.codes)
    assert [(p.record, p.column, p.code) for p in found] == [
        (p.record, p.column, p.code) for p in problems
    ]


def test_a_file_of_numbers_is_parsed_at_once():
    some, header = split([("1.5", "x"), ("", "1")], "\n")
    frame = typed_frame_of_rows(some, header, SCHEMA)
    assert frame.schema == {"a": pl.Float64, "b": pl.String}
    assert frame["a"].to_list() == [1.5, None]


def test_a_word_leaves_only_its_own_column_as_text():
    schema = Schema((*SCHEMA.columns, replace(COUNT, name="c")))
    header, rest = read_header(io.BytesIO(b"a,b,c\n1.5,x,NA\n2,1,7\n"))
    (some,) = read_rows(io.BytesIO(), header, rest)
    frame = typed_frame_of_rows(some, header, schema)
    assert frame.schema == {"a": pl.Float64, "b": pl.String, "c": pl.String}
    assert frame["a"].to_list() == [1.5, 2.0]
    assert frame["c"].to_list() == ["NA", "7"]


@pytest.mark.parametrize(
    ("high", "cells", "wanted"),
    [
        (9, ["7", ""], pl.Int16),
        (9, ["-32768", "32767"], pl.Int16),
        (9, ["7", "32768"], pl.Float64),
        (2.0**12, ["7", "2147483647"], pl.Int32),
        (9, ["7", "7.0"], pl.Float64),
        (9, ["7", "2147483648"], pl.Float64),
        (2.0**31, ["7", ""], pl.Float64),
        (9, ["7", "NA"], pl.String),
    ],
)
def test_small_integers_are_parsed_as_such(high: float, cells: list[str], wanted: pl.DataType):
    schema = Schema((replace(COUNT, high=high), *SCHEMA.discrete))
    some, header = split([(cell, "x") for cell in cells], "\n")
    assert typed_frame_of_rows(some, header, schema)["a"].dtype == wanted


@given(st.lists(st.tuples(CELL, st.just("x")), min_size=1), LINE_END)
@settings(max_examples=50, deadline=None)
def test_rows_keep_their_bytes_and_line_ends_before_the_added_fields(
    rows: list[tuple[str, str]], line_end: str
):
    some, _ = split(rows, line_end)
    added = pl.DataFrame({"score": np.arange(len(some))})
    got = extend_rows(some, added, np.arange(len(some)), ",")
    want = "".join(f"{a},{b},{i}{line_end}" for i, (a, b) in enumerate(rows))
    assert got == want.encode()
