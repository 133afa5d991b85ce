"""JSON files hold an array of records, or one record a line; both are read, byte for byte."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SMALL, Done, call, make_frame
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.json.array import in_lines, lines_of_array
from vaewatch.scoring.files.source import expand, open_frames
from vaewatch.training.train import train

CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(),
    st.floats(allow_nan=False, allow_infinity=False),
)
RECORDS = st.lists(st.dictionaries(st.text(), CELL, max_size=4), max_size=8)
BREAK = st.sampled_from(["", " ", "\n", "\r\n", "\n\n  "])


@st.composite
def arrays(draw: st.DrawFn) -> tuple[list[Any], str]:
    """Records, and an array of them that somebody has written."""
    records = draw(RECORDS)
    indent = draw(st.sampled_from([None, 0, 2]))
    members = [json.dumps(r, indent=indent, ensure_ascii=draw(st.booleans())) for r in records]
    text = draw(BREAK) + "["
    for at, member in enumerate(members):
        text += ("," if at else "") + draw(BREAK) + member + draw(BREAK)
    return records, text + draw(BREAK) + "]" + draw(BREAK)


def places(text: str) -> list[int]:
    """The line on which each member of an array begins, from 1."""
    at, found = text.index("[") + 1, list[int]()
    while text[at:].lstrip()[0] != "]":
        at += len(text[at:]) - len(text[at:].lstrip(" \r\n,"))
        found.append(text.count("\n", 0, at) + 1)
        at = json.JSONDecoder().raw_decode(text, at)[1]
    return found


@given(arrays())
def test_each_record_is_on_the_line_where_it_begins(array: tuple[list[Any], str]):
    records, text = array
    lines = lines_of_array(text.encode(errors="surrogatepass")).read().split(b"\n")
    held = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    assert [json.loads(line) for _, line in held] == records
    begun = places(text)
    if len(set(begun)) == len(begun):
        assert [i for i, _ in held] == begun


@given(RECORDS)
def test_without_line_breaks_the_lines_are_the_records(records: list[Any]):
    lines = lines_of_array(json.dumps(records).encode()).read()
    assert lines == b"\n".join(json.dumps(record).encode() for record in records)


def test_numbers_stand_as_they_came():
    lines = lines_of_array(b'[{"a":0.10},{"a":1E5,\n"b":-0}]').read()
    assert lines == b'{"a":0.10}\n{"a":1E5, "b":-0}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n{"a": NaN}]', "records in JSON, which has no NaN; write null (line 2)."),
        ('[{"a": 1},\n{"a": 2}\n', "but line 3 breaks it: it ends here"),
        ('[{"a": 1},\n{"a": 2},]', "but line 2 breaks it: trailing comma in array"),
        ('[{"a": 1}]\n[{"a": 2}]', "but line 2 breaks it: trailing characters"),
        ("[1, 2]", "a record must be an object of column: value, got a number (line 1)"),
        ('{"data": [\n{"a": 1}]}', "jq -c '.NAME[]' FILE one of each record in the array NAME"),
        ('{"data": [{"a": 1}]}', "takes them out of the array NAME"),
        ('{"a": {"0": 1}, "b": {"0": 2}}', "pandas writes records with to_json(orient='records')"),
        ('[{"a": 1}]'.encode("utf-16"), "got UTF-16. Convert it: iconv -f UTF-16 -t UTF-8"),
        ("[" * 100_000, "must be an array of records in JSON, got values nested too deep"),
        ("[" + '{"a":' * 100_000, "got values nested too deep"),
        ("[]", "the input must have records, got none"),
    ],
)
def test_what_holds_no_records_is_refused(tmp_path: Path, text: str | bytes, message: str):
    path = tmp_path / "in.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = call("train", path, "--out", tmp_path / "a", "--alpha", 0.1)
    assert done.returncode == 3 and message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


def packed(data: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data)
    return zstandard.compress(data) if name.endswith(".zst") else data


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return make_frame(120, seed=1).to_dicts()


@pytest.fixture(scope="module")
def plain(artifact_path: Path, records: list[dict[str, Any]], tmp_path_factory: Any) -> list[Any]:
    """The verdicts on the same records, one a line."""
    lines = tmp_path_factory.mktemp("lines") / "in.ndjson"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records))
    return verdicts(score(artifact_path, lines))


def score(artifact: Path, *words: object) -> Done:
    return call("score", artifact, *words, "--quiet")


def verdicts(done: Done) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["in.json", "IN.JSON", "in.json.gz", "in.json.zst", "in.ndjson"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_gets_the_verdicts_of_its_lines(
    artifact_path: Path,
    records: list[Any],
    plain: list[Any],
    tmp_path: Path,
    name: str,
    indent: Any,
):
    path = tmp_path / name
    path.write_bytes(packed(b"\xef\xbb\xbf" + json.dumps(records, indent=indent).encode(), name))
    assert verdicts(score(artifact_path, path)) == plain


def test_a_json_file_may_hold_lines(
    artifact_path: Path, records: list[Any], plain: list[Any], tmp_path: Path
):
    path = tmp_path / "in.json"
    path.write_text("\n".join(json.dumps(record) for record in records))
    assert verdicts(score(artifact_path, path)) == plain


def test_a_bad_record_is_named_by_its_line(
    artifact_path: Path, records: list[Any], tmp_path: Path
):
    bad = [*records[:2], records[2] | {"amount": "dear"}, *records[3:]]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(bad, indent=1))
    line = 1 + next(i for i, text in enumerate(path.read_text().split("\n")) if "dear" in text)
    done = score(artifact_path, path)
    found = re.search(r"line (\d+): column 'amount' must be a number", done.stderr)
    assert done.returncode == 3 and found is not None
    assert int(found[1]) <= line < int(found[1]) + len(records[2])
    done = score(artifact_path, path, "--rejects", tmp_path / "rejects.csv")
    assert len(verdicts(done)) == len(records) - 1


def test_an_array_is_learned_as_a_frame_is(tmp_path: Path):
    frame = make_frame(200)
    (tmp_path / "in.json").write_text(json.dumps(frame.to_dicts(), indent=2))
    settings = {"alpha": 0.1, "id": "order", "report": False, **SMALL}
    ours, theirs = (
        train(data, tmp_path / name, **settings)  # type: ignore[arg-type]
        for data, name in ((str(tmp_path / "in.json"), "a"), (frame, "b"))
    )
    assert ours.artifact.version == theirs.artifact.version


def test_standard_input_may_be_an_array(records: list[Any]):
    data = json.dumps(records, indent=1).encode()
    stream = io.BufferedReader(io.BytesIO(data))
    assert [json.loads(line) for line in in_lines(stream) if line.strip()] == records


def test_a_folder_may_hold_json_that_is_no_data(tmp_path: Path, records: list[Any]):
    (tmp_path / "of.json").write_text('{"made": "by hand"}')
    with pytest.raises(SchemaError, match=r"Name others, such as those that end in \.json, one"):
        expand([str(tmp_path)])
    (tmp_path / "in.csv").write_text("a\n1\n")
    assert expand([str(tmp_path)]) == (str(tmp_path / "in.csv"),)
    (tmp_path / "in.json").write_text(json.dumps(records))
    (named,) = expand([str(tmp_path / "i*.json")])
    with open_frames(named) as file:
        assert sum(len(some.frame) for some in file.chunks) == len(records)


@pytest.mark.parametrize("words", [("--out", "x.json"), ("--incidents", "x.json.gz")])
def test_an_output_is_no_array(
    artifact_path: Path, records: list[Any], tmp_path: Path, words: tuple[str, str]
):
    (tmp_path / "in.json").write_text(json.dumps(records))
    done = score(artifact_path, tmp_path / "in.json", words[0], tmp_path / words[1])
    assert done.returncode == 2 and "one object a line: name it .ndjson, got" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]
