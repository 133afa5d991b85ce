"""Chunks of NDJSON, read in one go, against the same lines read one by one."""

from __future__ import annotations

import codecs
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vaewatch.batch.added import EXPLAINED, frame_of_verdicts
from vaewatch.batch.encode import Encoder
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.foreign import why_no_json
from vaewatch.scoring.files.json.ndjson import NdjsonFile, _reader_of, read_ndjson
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.files.rows import split_lines
from vaewatch.scoring.files.source import open_source
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.table import parse_records
from vaewatch.scoring.verdicts import Verdicts

COLUMNS = (
    Column("amount", Kind.NUMERIC),
    Column("age", Kind.NUMERIC, required=False),
    Column("country", Kind.CATEGORICAL, categories=("NL", "1", "3.5")),
    Column("express", Kind.BOOLEAN),
)
SCHEMA = Schema(COLUMNS, id="order")
QUOTED = Schema((Column('say "it"', Kind.NUMERIC, required=False), *COLUMNS))  # no field's name
CLASHING = Schema((*COLUMNS, Column("severity", Kind.NUMERIC, required=False)))
FIRST = {"order": "A-1", "age": None, "amount": 1.5, "country": "NL", "express": True, "note": "x"}

NUMBER = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["0", "-0", "-0.0", "0.10", "5", "1e3", "2.5E-3", "9007199254740993"]),
)
ODD_NUMBER = st.sampled_from(
    ["1e999", "-1e999", "1" * 400, "NaN", "Infinity", "01", "+1", ".5", "1.", "0." + "1" * 400]
)
TEXT = st.one_of(
    st.text(max_size=4).map(json.dumps),
    st.text(max_size=4).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(['"NL"', '"1"', '"3.5"', '""', '"true"', '"FALSE "', '"0"']),
)
ODD_TEXT = st.sampled_from(['"\\ud800"', '"\\udc00x"', '"\\x"', '"\x01"', '"\udcff"', '"open'])
OTHER = st.sampled_from(["null", "true", "false", "[1, 2]", '{"a": [1]}', "[]", "nul", ""])
ODD_CELL = st.one_of(NUMBER, ODD_NUMBER, TEXT, ODD_TEXT, OTHER)
GOOD_CELLS: dict[str, Any] = {
    "order": TEXT | NUMBER | OTHER.filter(lambda text: text not in ("nul", "")),
    "amount": NUMBER | st.just("null"),
    "country": TEXT | NUMBER | st.just("null"),
    "express": st.sampled_from(["true", "false", "null", "0", "1", "1.0", '"true"', '"0"']),
    "note": TEXT | NUMBER | OTHER.filter(lambda text: text not in ("nul", "")),
}
AGE = st.fixed_dictionaries({}, optional={"age": NUMBER | st.just("null")})
NAMES = st.sampled_from([*(f'"{name}"' for name in (*GOOD_CELLS, "age", "new")), '"\udcff"'])
ADDED = st.sampled_from(
    ['"severity"', '"anomaly\\u005fscore"', '"say \\"it\\""', '"am\\u006funt"']
)
LINE_END = st.sampled_from(["\n", "\r\n", " \n", "\t\r\n"])


# four lines and four values, but not one a line
GOOD = json.dumps(FIRST).encode()
TWICE_AND_BROKEN = b"\n".join([GOOD, GOOD + GOOD, GOOD.replace(b",", b",\n", 1), b""])


def text_of(members: list[tuple[str, str]], comma: str = ",") -> str:
    return "{" + comma.join(f"{name}:{value}" for name, value in members) + "}"


@st.composite
def good_lines(draw: st.DrawFn) -> str:
    cells = draw(st.fixed_dictionaries(GOOD_CELLS)) | draw(AGE)
    names = draw(st.permutations(sorted(cells)))
    comma = draw(st.sampled_from([",", ", ", " , "]))
    return text_of([(f'"{name}"', cells[name]) for name in names], comma)


@st.composite
def odd_lines(draw: st.DrawFn) -> str:
    """A good line with something more in it, or something else."""
    line = draw(good_lines())
    more = draw(st.lists(st.tuples(NAMES | ADDED, ODD_CELL), max_size=2))
    return draw(
        st.sampled_from(
            [
                line[:-1] + "".join(f",{name}:{value}" for name, value in more) + "}",
                text_of(more),
                line.replace(",", ",\n", 1),
                line + line,
                line[:-3],
                "\ufeff" + line,
                line + "\0",
                f"[{line}]",
                "[" * 3000 + "]" * 3000,
                *("null", "7", '"x"', "[]", "{}", "{ }", "", " ", "\r", "{}{}", "x"),
            ]
        )
    )


@st.composite
def files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(good_lines(), max_size=4))
    lines += draw(st.just([]) | st.lists(odd_lines(), max_size=2))
    ended = [line + draw(LINE_END) for line in draw(st.permutations(lines))]
    return (json.dumps(FIRST) + "\n" + "".join(ended)).encode(errors="surrogateescape")


def parsed(data: bytes, schema: Schema) -> tuple[NdjsonFile, Records]:
    source = NdjsonFile.open("in.ndjson", io.BytesIO(data), schema, tuple(EXPLAINED))
    (chunk,) = source.chunks()
    return source, source.parse(chunk)


@dataclass(frozen=True)
class Expected:
    """What lines one by one give: `numbers` by their repr, since -0.0 equals 0.0."""

    lines: list[bytes]
    numbers: list[str]
    codes: list[list[int]]
    observed: list[list[Any]]
    good: list[bool]
    rejects: list[Reject]


def one_by_one(data: bytes, schema: Schema) -> Expected:
    want = Expected([], [], [], [], [], [])
    for number, ended in enumerate(data.split(b"\n")[:-1], 1):
        line = ended.removesuffix(b"\r")
        if not line:
            continue
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = why_no_json(line, first=number == 1)
            want.rejects.append(Reject("in.ndjson", number, "", "json", message, line))
            continue
        if isinstance(record, dict) and set(record) & set(EXPLAINED):
            raise SchemaError("must not be in the input")
        table, problems = parse_records(schema, [record])
        if problems:
            said = "; ".join(problem.message for problem in problems)
            first = problems[0]
            reject = Reject("in.ndjson", number, first.column or "", first.code, said, line)
            want.rejects.append(reject)
        want.lines.append(line)
        want.numbers.append(repr(table.numbers[0].tolist()))
        want.codes.append(table.codes[0].tolist())
        want.observed.append([table.observed(0, column) for column in schema.columns])
        want.good.append(not problems)
    return want


def outcome(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except SchemaError as error:
        return str(error)


@pytest.mark.parametrize("schema", [SCHEMA, QUOTED, CLASHING], ids=["plain", "quoted", "clash"])
@given(data=files())
@example(data=TWICE_AND_BROKEN)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_chunk_at_once_is_the_same_as_line_by_line(schema: Schema, data: bytes):
    got, want = outcome(lambda: parsed(data, schema)), outcome(lambda: one_by_one(data, schema))
    if isinstance(want, str):
        assert isinstance(got, str) and want in got
        return
    source, records = got
    table, kept = records.table, records.rows
    assert [kept.row(i) for i in range(len(kept))] == want.lines
    assert [repr(row) for row in table.numbers.tolist()] == want.numbers
    assert table.codes.tolist() == want.codes
    rows = range(len(table))
    assert [[table.observed(i, c) for c in schema.columns] for i in rows] == want.observed
    assert records.good.tolist() == want.good
    assert list(records.rejects) == want.rejects


def cell_text(line: bytes, name: str) -> str | None:
    """One member, a text without its quotes; None where the line is no object."""
    record = msgspec.json.decode(line)
    value = record.get(name) if isinstance(record, dict) else None
    if value is None or isinstance(value, str):
        return value
    return bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name]).decode()


@given(files())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_another_format_gets_every_number_as_it_came(data: bytes):
    got = outcome(lambda: parsed(data, SCHEMA))
    if isinstance(got, str):
        return
    (source, records), lines = got, one_by_one(data, SCHEMA).lines
    objects = [value for line in lines if isinstance(value := msgspec.json.decode(line), dict)]
    if extra := sorted({name for value in objects for name in value} - set(source.columns)):
        with pytest.raises(SchemaError, match=f"'{extra[0]}' is new"):
            records.frame()
        return
    cells = {name: [cell_text(line, name) for line in lines] for name in source.columns}
    assert records.frame().to_dict(as_series=False) == cells


@given(files())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_good_lines_come_back_with_their_verdicts(data: bytes):
    got = outcome(lambda: parsed(data, SCHEMA))
    if isinstance(got, str):
        return
    source, records = got
    n, rows = len(records.table), np.flatnonzero(records.good)
    ramp = np.linspace(0, 1, n)
    verdicts = Verdicts(ramp, ramp, ramp, ramp < 0.5, [()] * n)
    encoder = Encoder(
        to="ndjson",
        columns=source.columns,
        chosen=False,
        verbatim=source.header,
        delimiter=",",
        line_end=b"\n",
        explained=False,
        packing="",
        schema=SCHEMA,
        version="v",
    )
    output = encoder.encode(source, records, verdicts, rows)
    fields = frame_of_verdicts(verdicts, "v").write_ndjson().encode().splitlines()
    want, by_line = one_by_one(data, SCHEMA), b""
    for line, field, good in zip(want.lines, fields, want.good, strict=True):
        by_line += line.rstrip()[:-1] + b"," + field[1:] + b"\n" if good else b""
    assert output == by_line


@pytest.mark.parametrize("odd", [b"x", GOOD.replace(b"1.5", b"1e999"), GOOD[:-1] + b',"new":1}'])
def test_only_odd_lines_take_the_slow_way(odd: bytes):
    source = NdjsonFile.open(
        "in.ndjson", io.BytesIO(b"\n".join([GOOD, odd, GOOD])), SCHEMA, tuple(EXPLAINED)
    )
    (chunk,) = source.chunks()
    reader = _reader_of(source.schema, source.columns, source.reserved)
    found = [struct is not None for struct in reader.structs(split_lines(chunk))]
    assert found == [True, False, True]


def test_a_source_that_has_parsed_can_travel():
    source, records = parsed(GOOD + b"\n", SCHEMA)
    copy = pickle.loads(pickle.dumps(source.lean()))
    (chunk,) = NdjsonFile.open(
        "in.ndjson", io.BytesIO(records.rows.data), SCHEMA, tuple(EXPLAINED)
    ).chunks()
    assert copy.parse(chunk).table.numbers.tobytes() == records.table.numbers.tobytes()


def test_a_byte_order_mark_is_no_part_of_a_record(tmp_path: Path):
    line = json.dumps(FIRST).encode()
    path = tmp_path / "it.ndjson"
    path.write_bytes(codecs.BOM_UTF8 + line + b"\n" + line + b"\n")
    frames = [some.frame for some in read_ndjson(io.BytesIO(path.read_bytes()))]
    assert len(frames[-1]) == 2
    with open_source(str(path), SCHEMA) as source:
        assert source.columns == tuple(FIRST)
        (chunk,) = source.chunks(None)
        records = source.parse(chunk)
    assert records.good.tolist() == [True, True] and records.rejects == ()
    assert records.frame()["note"].to_list() == ["x", "x"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"amount": NaN}', "which has no NaN; write null"),
        (b'{"amount": -Infinity}', "which has no -Infinity; write null"),
        (b"[", "and no array; jq -c '.[]' FILE"),
        (b'[{"amount": 1}]', "got a list; jq -c '.[]' FILE"),
    ],
)
def test_a_line_that_is_no_record_says_what_to_do(line: bytes, message: str):
    (found,) = [bad for some in read_ndjson(io.BytesIO(line + b"\n")) for bad in some.bad]
    assert message in found.message
