"""Training takes every input that scoring takes, and learns the same from each."""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

import vaewatch
from tests.batch.objects import object_store
from tests.conftest import SMALL, call, make_frame, run
from vaewatch.scoring.artifact import CALIBRATION, GOLDEN, NETWORK, WEIGHTS
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.remote import put
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.records import read
from vaewatch.training.records.read import read_frame, read_sample

SETTINGS: Any = {**SMALL, "steps": 20, "alpha": 0.05, "id": "order", "report": False}
WORDS = ["--alpha=0.05", "--id=order", *(f"--{n}={v}" for n, v in SMALL.items()), "--no-report"]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return make_frame(400)


@pytest.fixture(scope="module")
def from_csv(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that a plain CSV file gives."""
    folder = tmp_path_factory.mktemp("csv")
    frame.write_csv(folder / "in.csv")
    vaewatch.train(folder / "in.csv", folder / "it", **SETTINGS)
    return folder / "it"


def ndjson(frame: pl.DataFrame) -> bytes:
    return frame.write_ndjson().encode()


def save(folder: Path, name: str, data: bytes) -> Path:
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
    }
    path = folder / name
    path.write_bytes(packers.get(path.suffix, bytes)(data))
    return path


def same_model(one: Path, other: Path) -> bool:
    files = (NETWORK, CALIBRATION, WEIGHTS, GOLDEN)
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in files)


@pytest.mark.parametrize("name", ["in.ndjson", "in.jsonl.gz", "in.ndjson.zst", "in.csv.zst"])
def test_every_format_gives_the_artifact_that_csv_gives(
    tmp_path: Path, frame: pl.DataFrame, from_csv: Path, name: str
):
    data = frame.write_csv().encode() if "csv" in name else ndjson(frame)
    scorer = vaewatch.train(save(tmp_path, name, data), tmp_path / "it", **SETTINGS)
    assert scorer.artifact.schema == Scorer.load(from_csv).artifact.schema
    assert same_model(tmp_path / "it", from_csv)


@pytest.mark.parametrize("way", ["folder", "glob", "file url", "several names"])
def test_every_way_to_name_files_gives_the_same_artifact(
    tmp_path: Path, frame: pl.DataFrame, from_csv: Path, way: str
):
    first, second = frame.head(150), frame.tail(250)
    save(tmp_path, "0 a.ndjson", ndjson(first))
    save(tmp_path, "1 b.ndjson.gz", ndjson(second))
    save(tmp_path, "notes.txt", b"not data")
    url = (tmp_path / "0 a.ndjson").as_uri()
    ways: dict[str, Any] = {
        "folder": str(tmp_path),
        "glob": str(tmp_path / "*.ndjson*"),
        "file url": [url, tmp_path / "1 b.ndjson.gz"],
        "several names": (tmp_path / "0 a.ndjson", str(tmp_path / "1 b.ndjson.gz")),
    }
    vaewatch.train(ways[way], tmp_path / "it", **SETTINGS)
    assert same_model(tmp_path / "it", from_csv)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_standard_input_is_taken(tmp_path: Path, frame: pl.DataFrame, from_csv: Path, kind: str):
    text = frame.write_csv() if kind == "csv" else frame.write_ndjson()
    done = run("train", "-", "--out", tmp_path / "it", *WORDS, "--steps=20", input=text)
    assert done.returncode == 0, done.stderr
    assert same_model(tmp_path / "it", from_csv)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment, object_store(environment) as url:
        yield url


@pytest.mark.filterwarnings("default")  # moto has some of its own
def test_objects_are_taken_by_every_command(
    tmp_path: Path, frame: pl.DataFrame, from_csv: Path, bucket: str
):
    put(frame.head(200).write_csv().encode(), f"{bucket}/train/0.csv")
    put(gzip.compress(frame.tail(200).write_csv().encode()), f"{bucket}/train/1.csv.gz")
    fresh = make_frame(200, seed=7).with_columns(label=pl.int_range(pl.len()) % 10 == 0)
    fresh.write_parquet(tmp_path / "fresh.parquet")
    put((tmp_path / "fresh.parquet").read_bytes(), f"{bucket}/fresh.parquet")
    put(ndjson(fresh), f"{bucket}/fresh.ndjson")
    artifact, train = tmp_path / "it", f"{bucket}/train/*.csv*"
    done = call("train", train, "--out", artifact, *WORDS, "--steps=20")
    assert done.returncode == 0, done.stderr
    assert same_model(artifact, from_csv)
    found = [
        call("evaluate", artifact, f"{bucket}/fresh.{ending}", "--json").stdout
        for ending in ("ndjson", "parquet")
    ]
    assert found[0] == found[1] and json.loads(found[0])["anomalies"] == 20
    normal = ["recalibrate", artifact, f"{bucket}/fresh.ndjson", "--out", tmp_path / "new"]
    assert call(*normal).returncode == 0
    page = ["--labelled", f"{bucket}/fresh.ndjson", "--normal", f"{bucket}/train/"]
    done = call("report", artifact, *page, "--out", tmp_path / "it.html", "--quiet")
    assert done.returncode == 0, done.stderr


def records(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_the_columns_of_ndjson_are_those_of_all_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", 16)
    lines = ['{"a": 1}', '{"b": "x", "a": 2.5}', "", '{"c": true}', "{}", '{"a": null, "b": "y"}']
    got = read_frame(save(tmp_path, "in.ndjson", records(*lines)))
    assert got.to_dict(as_series=False) == {
        "a": [1, 2.5, None, None, None],
        "b": [None, "x", None, None, "y"],
        "c": [None, None, True, None, None],
    }
    assert got.schema == {"a": pl.Float64, "b": pl.String, "c": pl.Boolean}


@pytest.mark.parametrize("chunk_bytes", [8, 2 << 20])
def test_a_column_of_mixed_values_is_text_as_scoring_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
):
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", chunk_bytes)
    values = ['"x"', "5", "5.0", "2.5", "true", "null", "1e3", "-0.0"]
    path = save(tmp_path, "in.ndjson", records(*(f'{{"a": {value}}}' for value in values)))
    assert read_frame(path)["a"].to_list() == ["x", "5", "5", "2.5", "true", None, "1000", "0"]


def test_a_text_that_looks_like_a_number_is_a_category_of_json(tmp_path: Path):
    rng, lines = np.random.default_rng(0), list[str]()
    for i in range(100):
        lines.append(json.dumps({"code": f"0{i % 3}", "amount": round(rng.normal(), 2)}))
    path = save(tmp_path, "in.ndjson", records(*lines))
    settings = {**SETTINGS, "id": None}
    scorer = vaewatch.train(path, tmp_path / "it", **settings)
    assert [c.kind for c in scorer.artifact.schema.columns] == [Kind.CATEGORICAL, Kind.NUMERIC]
    done = call("score", tmp_path / "it", path, "--out", tmp_path / "out.ndjson")
    assert done.returncode == 0 and "scored 100 records" in done.stderr
    kinds = {"code": Kind.NUMERIC}
    declared = vaewatch.train(path, tmp_path / "declared", **settings, kinds=kinds)
    assert declared.artifact.schema.columns[0].kind is Kind.NUMERIC


def test_a_nested_column_is_named_and_can_be_ignored(tmp_path: Path):
    lines = [json.dumps({"x": i % 7, "tags": ["a"] * (i % 2)}) for i in range(100)]
    path = save(tmp_path, "in.ndjson", records(*lines))
    words = ["train", path, "--out", tmp_path / "it", *WORDS[0:1], *WORDS[2:], "--steps=5"]
    done = call(*words)
    assert done.returncode == 3
    assert "must hold numbers, texts or booleans, got lists or objects. Give each" in done.stderr
    assert call(*words, "--ignore=tags").returncode == 0


def test_a_sample_of_ndjson_has_the_rows_of_a_sample_of_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.scoring.files.chunks.CHUNK_BYTES", 1 << 12)
    frame = make_frame(3000)
    frame.write_csv(tmp_path / "in.csv")
    frame.write_ndjson(tmp_path / "in.ndjson")
    frame.write_parquet(tmp_path / "in.parquet", row_group_size=700)
    samples = [read_sample(tmp_path / f"in.{e}", 100, 3) for e in ("csv", "ndjson", "parquet")]
    assert [sample.total for sample in samples] == [3000] * 3
    orders = [sample.frame["order"].to_list() for sample in samples]
    assert orders[0] == orders[1] == orders[2] and len(orders[0]) == 100


def test_files_of_different_formats_are_one_set_of_records(tmp_path: Path):
    frame = make_frame(60)
    one = save(tmp_path, "a.csv", frame.head(20).write_csv().encode())
    two = save(tmp_path, "b.ndjson", ndjson(frame.tail(40)))
    for paths in ([one, two], [two, one]):
        got = read_frame(paths)
        assert got.columns == frame.columns and len(got) == 60
        assert got["amount"].cast(pl.Float64).sum() == pytest.approx(frame["amount"].sum())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.ndjson", b'{"a": 1}\n{"a": \n', "a line must be a JSON object (line 2). Mend or"),
        ("in.ndjson", b'{"a": 1}\n\n[1]\n', "a record must be an object of column: value, got a"),
        ("in.ndjson", b'{"a": 1}\n\n[1]\n', "(line 3)"),
        ("in.ndjson", b"", "the input must have records"),
        ("in.ndjson", b"{}\n{}\n", "the input must have records"),
        ("in.csv.gz", b"a,b\n1,2\n", "must be a whole .gz file"),
        ("in.csv.zst", zstandard.compress(b"a,b\n1,2\n")[:-3], "must be a whole .zst file"),
        ("in.parquet", b"nope", "must be a Parquet file"),
        ("none/*.csv", None, "must hold files that end in .csv"),
        ("no.parquet", None, "must be readable: No such file"),
        ("ftp://host/in.csv", None, "the input must be a path, or a URL of s3://"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
):
    path = name if "://" in name else str(tmp_path / name)
    if content is not None:
        Path(path).write_bytes(content)
    with pytest.raises(SchemaError) as caught:
        read_frame(path)
    assert message in str(caught.value)
    assert path in str(caught.value) or message == "the input must have records"


def test_the_command_refuses_what_it_cannot_open_as_usage(tmp_path: Path):
    done = call("train", "ftp://host/in.csv", "--out", tmp_path / "it")
    assert done.returncode == 2 and "must be a path, or a URL of s3://" in done.stderr


DAY = datetime.datetime(2024, 2, 3, 4, 5, 6)
TYPED: dict[str, pyarrow.Array] = {
    "dictionary": pyarrow.array(["a", "b", None, "a"]).dictionary_encode(),
    "dictionary of numbers": pyarrow.array([1, 2, None, 1]).dictionary_encode(),
    "decimal": pyarrow.array([Decimal("1.50"), None] * 2, pyarrow.decimal128(10, 2)),
    "nanoseconds": pyarrow.array([DAY, None] * 2, pyarrow.timestamp("ns")),
    "zoned": pyarrow.array([DAY, None] * 2, pyarrow.timestamp("ms", "Europe/Amsterdam")),
    "date": pyarrow.array([DAY.date(), None] * 2),
    "time": pyarrow.array([DAY.time(), None] * 2, pyarrow.time64("us")),
    "duration": pyarrow.array([datetime.timedelta(1), None] * 2, pyarrow.duration("us")),
    "float16": pyarrow.array(np.arange(4, dtype=np.float16)),
    "float32": pyarrow.array(np.arange(4, dtype=np.float32) / 3),
    "odd floats": pyarrow.array([float("nan"), float("inf"), None, -0.0]),
    "unsigned": pyarrow.array([2**63 + 5, None] * 2, pyarrow.uint64()),
    "boolean": pyarrow.array([True, None] * 2),
    "nothing": pyarrow.nulls(4),
    "text": pyarrow.array(["x", None] * 2, pyarrow.large_string()),
    "bytes": pyarrow.array([b"x", None] * 2),
    "list": pyarrow.array([[1], None] * 2),
    "struct": pyarrow.array([{"a": 1}, None] * 2),
}


@pytest.mark.parametrize("kind", TYPED)
def test_parquet_has_the_types_and_values_that_arrow_reads(tmp_path: Path, kind: str):
    table = pyarrow.table({"it": TYPED[kind], "row": pyarrow.array(range(4))})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet", row_group_size=3)
    wanted = pl.from_arrow(pyarrow.parquet.read_table(tmp_path / "in.parquet"))
    assert isinstance(wanted, pl.DataFrame)
    got = read_frame(tmp_path / "in.parquet")
    assert got.schema == wanted.schema and got.equals(wanted)
    assert read.fingerprint(got) == read.fingerprint(wanted)


@pytest.mark.parametrize("to", ["csv", "ndjson", "parquet"])
def test_arrow_s_extension_types_are_what_they_store(tmp_path: Path, to: str):
    plain = pyarrow.array(['{"a": 1}', '{"a": 2}'] * 60)
    kinds = {
        "amount": pyarrow.array(np.arange(120) % 7 / 2),
        "tags": pyarrow.ExtensionArray.from_storage(pyarrow.json_(), plain),
    }
    pyarrow.parquet.write_table(pyarrow.table(kinds), tmp_path / "in.parquet")
    assert call("profile", tmp_path / "in.parquet").returncode == 0
    settings = {**SETTINGS, "id": None}
    scorer = vaewatch.train(tmp_path / "in.parquet", tmp_path / "it", **settings)
    assert scorer.artifact.schema.columns[1].categories == ('{"a": 2}', '{"a": 1}')
    out = tmp_path / f"out.{to}"
    done = call("score", tmp_path / "it", tmp_path / "in.parquet", "--out", out)
    assert done.returncode == 0, done.stderr
    read = {"csv": pl.read_csv, "ndjson": pl.read_ndjson, "parquet": pl.read_parquet}[to]
    assert len(read(out)) == 120


def test_a_type_that_cannot_be_read_is_bad_data(tmp_path: Path, from_csv: Path):
    frame = make_frame(6).to_arrow()
    wide = pyarrow.array([Decimal("1.50")] * 6, pyarrow.decimal256(40, 2))
    pyarrow.parquet.write_table(frame.append_column("wide", wide), tmp_path / "in.parquet")
    done = call("score", from_csv, tmp_path / "in.parquet", "--out", tmp_path / "out.csv")
    assert done.returncode == 3 and "in.parquet' must be a Parquet file" in done.stderr
