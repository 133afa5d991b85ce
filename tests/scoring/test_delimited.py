"""Rows found in raw bytes, against Python's csv module."""

from __future__ import annotations

import csv
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files import chunks
from vaewatch.scoring.files.chunks import Place, read_chunks
from vaewatch.scoring.files.csv import extend_rows, frame_of_rows
from vaewatch.scoring.files.header import read_header
from vaewatch.scoring.files.rows import Rows, split_chunk

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6)
CELL = st.one_of(TEXT, st.sampled_from(["", '"', "\n", "a,b", "é", '""', "1.50"]))
ROWS = st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=20)


def split(data: bytes, chunk_bytes: int = 4 << 20) -> list[Rows]:
    stream = io.BytesIO(data)
    header, rest = read_header(stream)
    chunks = read_chunks(stream, header, rest, Place(header.size, header.lines), chunk_bytes)
    return [split_chunk(chunk, header) for chunk in chunks]


def rows_of(found: list[Rows]) -> list[bytes]:
    return [some.row(i) for some in found for i in range(len(some))]


def bad_of(found: list[Rows]) -> list[tuple[int, str, bytes]]:
    return [(bad.line, bad.code, bad.raw) for some in found for bad in some.bad]


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([8, 64, 4096]))
@example([["x^", "1"], ["x\u0680y", "2"]], "\n", 8)
@example([["x\x01", "1"], ["x^,", "2"]], "\r\n", 8)
@settings(max_examples=200, deadline=None)
def test_rows_and_fields_are_those_of_the_csv_module(
    rows: list[list[str]], line_end: str, chunk_bytes: int
):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([["a", "b"], *rows])
    data = text.getvalue().encode()
    found = split(data, chunk_bytes)
    assert bad_of(found) == []
    header, _ = read_header(io.BytesIO(data))
    assert header.raw + header.line_end + b"".join(some.data for some in found) == data
    cells = [row for some in found for row in frame_of_rows(some, header).rows()]
    assert [[cell or "" for cell in row] for row in cells] == rows


@pytest.mark.parametrize("end", ["^", "\x01", "\u0680"])
def test_rows_that_begin_like_compressed_bytes_are_extended_as_they_came(end: str):
    data = f"a,b\nx{end},1\ny,2\n".encode()
    [rows] = split(data, 4096)
    added = pl.DataFrame({"score": ["0.5", "0.25"]})
    found = extend_rows(rows, added, np.arange(2), ",")
    assert found == f"x{end},1,0.5\ny,2,0.25\n".encode()


@given(ROWS, st.sampled_from([8, 64, 256]), st.data())
@settings(max_examples=100, deadline=None)
def test_reading_on_from_a_chunks_end_meets_the_same_chunks(
    rows: list[list[str]], chunk_bytes: int, data: st.DataObject
):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["a", "b"], *rows])
    raw = text.getvalue().encode()
    if data.draw(st.booleans()):
        raw += b'x"y,1\n' + raw + b'"never closed,2\n3,4\n'
    stream = io.BytesIO(raw)
    header, rest = read_header(stream)
    at = Place(header.size, header.lines)
    chunks = list(read_chunks(stream, header, rest, at, chunk_bytes))
    k = data.draw(st.integers(0, len(chunks) - 1))
    stream.seek(chunks[k].end.offset)
    again = read_chunks(stream, header, b"", chunks[k].end, chunk_bytes)
    assert [c.data for c in again] == [c.data for c in chunks[k + 1 :]]


def test_a_line_number_counts_the_newlines_in_quotes():
    found = split(b'a,b\n"x\ny",1\n\n2,3,4\n5,6\n')
    assert [int(line) for some in found for line in some.lines] == [2, 6]
    assert bad_of(found) == [(5, "fields", b"2,3,4")]


@pytest.mark.parametrize("chunk_bytes", [4, 1000])
def test_a_stray_quote_costs_its_own_line(chunk_bytes: int):
    data = b'a,b\n1,2\n5" pipe,3\n"x"y,4\n"fine, ""too""",5\n6,7"\n8,9\n'
    found = split(data, chunk_bytes)
    assert rows_of(found) == [b"1,2", b'"fine, ""too""",5', b"8,9"]
    assert [(line, code) for line, code, _ in bad_of(found)] == [
        (3, "quote"),
        (4, "quote"),
        (6, "quote"),
    ]


@pytest.mark.parametrize("chunk_bytes", [4, 1000])
def test_a_quote_that_is_never_closed_costs_one_line(chunk_bytes: int):
    found = split(b'a,b\n1,2\n"open,3\n4,5\n6,7', chunk_bytes)
    assert rows_of(found) == [b"1,2", b"4,5", b"6,7"]
    assert bad_of(found) == [(3, "row", b'"open,3')]


def test_a_line_longer_than_a_row_may_be_costs_one_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chunks, "ROW_BYTES", 64)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 16)
    found = split(b"a,b\n1,2\n" + b"x" * 1000 + b",3\n4,5\n", 16)
    assert rows_of(found) == [b"1,2", b"4,5"]
    (line, code, raw), *others = bad_of(found)
    assert (line, code, others) == (3, "row", []) and set(raw) == set(b"x")


def test_bytes_that_are_not_text_cost_their_row():
    found = split(b"a,b\n1,2\n\xe9,3\n4\0,5\n6,7\n")
    assert rows_of(found) == [b"1,2", b"6,7"]
    assert [(line, code) for line, code, _ in bad_of(found)] == [(3, "encoding"), (4, "encoding")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must start with a header row"),
        (b"\n1,2\n", "must start with a header row"),
        (b"a,b,a\n1,2,3\n", "'a' is there 2 times"),
        (b"a,,c\n1,2,3\n", "column 2 must have a name"),
        (b"PAR1\x15\x04\n", "a Parquet file; name it .parquet"),
        (b"a\0,b\n", "a binary file"),
        (b"\xff\xfe,b\n", "must be UTF-8"),
    ],
)
def test_a_header_that_is_none_is_refused(data: bytes, message: str):
    with pytest.raises(SchemaError, match=message):
        read_header(io.BytesIO(data))


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    header, rest = read_header(io.BytesIO(b"\xef\xbb\xbfa;b\r\n1;2\r\n"))
    assert (header.names, header.delimiter, header.line_end) == (("a", "b"), ";", b"\r\n")
    assert (header.size, header.lines, rest) == (8, 1, b"1;2\r\n")
