"""One value in many spellings: categories, booleans and numbers, in every format alike."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaewatch.scoring.files.frames import as_categories, table_of_frame
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.spelling.booleans import are_booleans, read_word
from vaewatch.scoring.spelling.categories import BLANKS, key_of, one_spelling, spell
from vaewatch.scoring.spelling.columns import parse_spelled
from vaewatch.scoring.spelling.numbers import NumberFormat, formats_of, is_unit
from vaewatch.scoring.spelling.values import parse_category
from vaewatch.scoring.structs import StructReader
from vaewatch.scoring.table import parse_records

CODE = Column("code", Kind.CATEGORICAL, categories=("1", "0.1", "NL", "true"))
SCHEMA = Schema((CODE,))
F32 = float(np.float32(0.1))


def codes_of(schema: Schema, values: list[Any]) -> list[list[int]]:
    """The codes of values as JSON objects, as structs, and as a frame."""
    records = [{"code": value} for value in values]
    found = [parse_records(schema, records)[0].codes[:, 0].tolist()]
    reader = StructReader(schema)
    if not any(isinstance(value, bool) for value in values):  # those are read the slow way
        structs = [msgspec.convert(record, reader.record) for record in records]
        if reader.plain(structs):
            found.append(reader.table(structs).codes[:, 0].tolist())
    if len({type(value) for value in values}) == 1:
        frame = pl.DataFrame({"code": values})
        found.append(table_of_frame(schema, frame)[0].codes[:, 0].tolist())
    return found


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *[(value, 0) for value in (1, 1.0, "1", "1.0", " 1", "1 ", "1.00", "1.0\t")],
        *[(value, 1) for value in (0.1, "0.1", F32, "0.1 ", "0.10000000149011612")],
        *[(value, 2) for value in ("NL", "NL    ", " NL", "NL\u00a0", "\tNL")],
        *[(value, 3) for value in (True, "true", "TRUE", "True ")],
        *[(value, 4) for value in ("01", "1.10", "nl", "0.10", 2, "x", False)],
        *[(value, 5) for value in (None, "", "   ", math.nan)],
    ],
)
def test_a_category_has_one_code_in_every_spelling_and_format(value: Any, code: int):
    for found in codes_of(SCHEMA, [value]):
        assert found == [code]


PLACES = Column(
    "code", Kind.CATEGORICAL, categories=("Z\u00fcrich", "New York", "4", "0.1", "1,25")
)
F16 = float(np.float16(0.1))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *[(value, 0) for value in ("Zu\u0308rich", "Z\u00fcrich\u200b", "\u200eZ\u00fcrich")],
        *[(value, 1) for value in ("New\u00a0York", "New\u202fYork", " New York ")],
        *[(value, 2) for value in ("+4", 4, "4.0", "+4.0", "4,0")],
        *[(value, 3) for value in (F16, F32, "0,1", "0.0999755859375")],
        *[(value, 4) for value in (1.25, "1.25")],
        *[
            (value, 5)
            for value in ("Zurich", "z\u00fcrich", "NewYork", 0.09998, "1,250", "+", "04,0")
        ],
    ],
)
def test_what_looks_alike_is_one_category(value: Any, code: int):
    for found in codes_of(Schema((PLACES,)), [value]):
        assert found == [code]


def test_a_category_that_is_spelled_as_another_one_keeps_its_own_code():
    """Artifacts of before may hold both."""
    both = Schema((replace(CODE, categories=("1.0", "1", "NL  ", "NL")),))
    for found in codes_of(both, ["NL  ", "NL", "1", "1.0", "NL ", "1.00"]):
        assert found == [2, 3, 1, 0, 2, 0]
    assert codes_of(both, [1, 1.0])[0] == [1, 1]


def test_an_artifact_of_before_knows_its_categories_in_other_spellings():
    old = Schema((replace(CODE, categories=("1.0", "2.0", "NL    ")),))
    assert codes_of(old, [1, 2.0, "NL", "1", "2.0"])[0] == [0, 1, 2, 0, 1]


def test_a_text_that_was_declared_missing_is_missing_in_a_category():
    schema = Schema((replace(CODE, nulls=("?", "-")),))
    for found in codes_of(schema, ["?"]) + codes_of(schema, [" - "]):
        assert found == [5]


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["1.0", "2.0", " 3"], ["1", "2", "3"]),
        (["0.5", "1.0"], ["0.5", "1"]),
        (["1.0", "1.1.2"], ["1.0", "1.1.2"]),
        (["1.0", "1.10"], ["1.0", "1.10"]),
        (["007", "1.0"], ["007", "1.0"]),
        (["True", "FALSE "], ["true", "false"]),
        (["True", "maybe"], ["True", "maybe"]),
        ([" a", "b "], ["a", "b"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["+4", "4"], ["4", "4"]),
        (["1e+05", "2"], ["100000", "2"]),
        (["Zu\u0308rich", "Z\u00fcrich"], ["Z\u00fcrich", "Z\u00fcrich"]),
        (["New\u00a0York", "New York"], ["New York", "New York"]),
    ],
)
def test_numbers_lose_a_zero_fraction_where_all_are_numbers(texts: list[str], names: list[str]):
    assert one_spelling(set(texts)) == dict(zip(texts, names, strict=True))


@given(st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_a_number_has_one_text_in_frames_and_in_json(number: float, single: bool):
    value = float(np.float32(number)) if single and abs(number) < 1e38 else number
    text = parse_category(value, replace(CODE, categories=()))
    assert as_categories(pl.Series([value]))[0] == text == spell(value)
    assert float(text or "nan") == pytest.approx(value, rel=1e-7)
    assert key_of(text or "") == key_of(repr(value))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_spelled_in_the_digits_it_needs(number: float):
    series = pl.Series([number], dtype=pl.Float32)
    assert np.float32(as_categories(series)[0]) == np.float32(number)
    assert spell(number) == as_categories(series)[0]


@given(st.text(max_size=6), st.sampled_from(BLANKS), st.integers(0, 3))
def test_blanks_around_a_text_change_no_key(text: str, blank: str, times: int):
    assert key_of(blank * times + text + blank) == key_of(text)


@pytest.mark.parametrize("word", ["true", "TRUE", "Yes", "y", "ON", "t", "1", "1.0", " True "])
def test_a_word_is_true_in_every_spelling(word: str):
    assert read_word(word) is True
    schema = Schema((Column("code", Kind.BOOLEAN),))
    assert all(found == [1] for found in codes_of(schema, [word]))


@pytest.mark.parametrize("word", ["false", "No", "n", "off", "F", "0", "0.0"])
def test_a_word_is_false_in_every_spelling(word: str):
    schema = Schema((Column("code", Kind.BOOLEAN),))
    assert all(found == [0] for found in codes_of(schema, [word]))


@pytest.mark.parametrize("word", ["NA", "null", "n/a", "?", ""])
def test_a_boolean_may_be_missing_in_words(word: str):
    schema = Schema((Column("code", Kind.BOOLEAN, required=False, nulls=("?",)),))
    record, frame = {"code": word}, pl.DataFrame({"code": [word]})
    assert parse_records(schema, [record])[0].codes.tolist() == [[2]]
    assert table_of_frame(schema, frame)[0].codes.tolist() == [[2]]


@pytest.mark.parametrize(
    ("texts", "boolean"),
    [
        (["yes", "no"], True),
        (["Y", "N", "yes"], True),
        (["on", "OFF"], True),
        (["T", "F"], True),
        (["TRUE"], True),
        (["NO"], False),
        (["F"], False),
        (["N", "S", "E", "W"], False),
        (["0", "1"], False),
        (["yes", "no", "perhaps"], False),
        (["0", "1", "true", "false"], True),
        (["Y", "N", "1"], True),
        (["1", "0", "y"], False),
        (["0.0", "TRUE"], True),
        ([], False),
    ],
)
def test_words_are_booleans_where_a_pair_is_whole(texts: list[str], boolean: bool):
    assert are_booleans(texts) is boolean


FORMATS = [*formats_of(None, ""), *formats_of(None, "€"), *formats_of(None, "%")]
PIECES = st.text("0123456789.,' \u00a0-+()€%eE", max_size=12)


@given(PIECES, st.sampled_from(FORMATS))
def test_polars_and_python_read_the_same_numbers(text: str, spelling: NumberFormat):
    one = parse_spelled(pl.Series([text]), spelling)[0]
    assert one == spelling.parse(text)


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.sampled_from(FORMATS))
def test_a_number_comes_back_from_its_format(whole: int, digits: int, spelling: NumberFormat):
    number = whole / 10**digits
    text = f"{number:,.{max(digits, 1)}f}".replace(",", "\0").replace(".", spelling.decimal)
    text = text.replace("\0", spelling.thousands)
    assert spelling.parse(f"{spelling.unit} {text}") == pytest.approx(number)
    assert spelling.parse(f"{text}{spelling.unit} ") == pytest.approx(number)


@pytest.mark.parametrize(
    ("spelling", "text", "number"),
    [
        (NumberFormat(","), "272,45", 272.45),
        (NumberFormat(","), "1.234,5", 1234.5),
        (NumberFormat(","), "1.234.567", 1234567),
        (NumberFormat(","), "1.234", None),  # either 1234 or 1.234
        (NumberFormat(","), "12.5", 12.5),
        (NumberFormat(",", "."), "1.234", 1234),
        (NumberFormat(".", ","), "1,23,456", 123456),
        (NumberFormat(".", ","), "1,2", None),
        (NumberFormat(".", ",", "$"), "-$1,200.00", -1200),
        (NumberFormat(".", ",", "$"), "(1,200.00)", -1200),
        (NumberFormat(".", ",", "$"), "€ 5", None),
        (NumberFormat(".", "", "%"), "45 %", 45),
        (NumberFormat(",", " "), "1\u202f234,5", 1234.5),
        (NumberFormat(".", "'"), "1\u2019234.5", 1234.5),
        (NumberFormat(","), "1,5E-3", 0.0015),
        (NumberFormat(","), "\u22125,5", -5.5),
        (NumberFormat(","), "5,5,5", None),
        (NumberFormat(","), "", None),
        (NumberFormat("."), "12.50-", -12.5),
        (NumberFormat(",", "."), "1.234,50 -", -1234.5),
        (NumberFormat(".", "", "$"), "$(12.50)", -12.5),
        (NumberFormat(".", "", "CHF"), "CHF 677.-", 677),
        (NumberFormat(",", ".", "€"), "1.234,-- €", 1234),
        (NumberFormat("."), "\u201312.5", -12.5),
        (NumberFormat("."), "\u0661\u0662\u066b\u0665\u0660", 12.5),
        (NumberFormat(".", ","), "\u0967\u0968,\u0969\u096a\u096b,\u096c\u096d\u096e", 12345678),
        (NumberFormat("."), "\uff11\uff12\uff0e\uff15", 12.5),
        (NumberFormat("."), "-12-5", None),
        (NumberFormat("."), "12--", None),
    ],
)
def test_a_format_reads_its_own_spelling(spelling: NumberFormat, text: str, number: float | None):
    assert spelling.parse(text) == number
    assert parse_spelled(pl.Series([text]), spelling)[0] == number


UNITS = [("€", True), ("US$", True), ("EUR", True), ("%", True), ("kr", True)]
OTHERS = [("", False), ("kg", False), (":", False)]


@pytest.mark.parametrize(("text", "unit"), UNITS + OTHERS)
def test_currencies_and_shares_are_units(text: str, unit: bool):
    assert is_unit(text) is unit


def test_a_numeric_column_takes_its_format_and_plain_numbers_everywhere():
    column = Column("code", Kind.NUMERIC, format=NumberFormat(",", "."), nulls=("-200",))
    schema = Schema((column,))
    values = ["1.234,5", 1234.5, "-200", -200, "NA", None]
    table, problems = parse_records(schema, [{"code": value} for value in values])
    assert not problems
    want = [[1234.5], [1234.5], [math.nan], [math.nan], [math.nan], [math.nan]]
    np.testing.assert_array_equal(table.numbers, want)
    texts = pl.DataFrame({"code": [None if v is None else str(v) for v in values[2:]]})
    assert np.isnan(table_of_frame(schema, texts)[0].numbers).all()
    typed = pl.DataFrame({"code": [-200.0, 5.0]})
    np.testing.assert_array_equal(table_of_frame(schema, typed)[0].numbers, [[math.nan], [5]])
    _, broken = parse_records(schema, [{"code": "5,5,5"}])
    assert broken[0].message == "column 'code' must be a number, got a string"


@pytest.mark.parametrize(
    ("spelling", "text", "code"),
    [
        (None, "1,5", "decimal"),
        (None, "1.234,56", "decimal"),
        (None, "1,5,5", "type"),
        (NumberFormat(".", "", "€"), "1,50 €", "decimal"),
        (NumberFormat(".", "", "€"), "1,50 $", "type"),
        (NumberFormat(".", ","), "1,5", "type"),  # commas are read there, between thousands
        (NumberFormat(","), "1,5,5", "type"),
    ],
)
def test_a_decimal_comma_is_told_from_other_texts(
    spelling: NumberFormat | None, text: str, code: str
):
    schema = Schema((Column("price", Kind.NUMERIC, format=spelling),))
    (problem,) = table_of_frame(schema, pl.DataFrame({"price": ["2", text]}))[1]
    got = "a number with a decimal point, got one with a comma"
    rule = got if code == "decimal" else "a number, got a string"
    assert (problem.record, problem.code) == (1, code)
    assert problem.message == f"column 'price' must be {rule}"
    if spelling is not None:  # without a format, a text in JSON is no number at all
        assert parse_records(schema, [{"price": 2}, {"price": text}])[1] == (problem,)


def test_a_number_that_means_missing_is_missing_in_structs():
    schema = Schema((Column("code", Kind.NUMERIC, nulls=("-200",)),))
    reader = StructReader(schema)
    rows = [msgspec.convert({"code": value}, reader.record) for value in (-200, 5.0)]
    np.testing.assert_array_equal(reader.table(rows).numbers, [[math.nan], [5.0]])


def test_a_schema_with_a_format_survives_json():
    schema = Schema((Column("p", Kind.NUMERIC, format=NumberFormat(",", ".", "€"), nulls=("?",)),))
    assert msgspec.convert(schema.to_json(), Schema) == schema
    assert "format" not in Schema((Column("p", Kind.NUMERIC),)).to_json()["columns"][0]
