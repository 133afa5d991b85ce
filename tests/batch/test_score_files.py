"""`vaewatch score` on every format, on many files, and its reports of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard
from prometheus_client.parser import text_string_to_metric_families

from tests.batch.test_score import ROOT, error_of, score
from tests.batch.test_terminal import terminal
from tests.conftest import make_frame
from vaewatch.batch.added import ADDED
from vaewatch.batch.chunk import FileChunk
from vaewatch.batch.job import Job
from vaewatch.batch.pipeline import run
from vaewatch.batch.stage import ScoredChunk, Stage
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.score import PART_COLUMNS
from vaewatch.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return make_frame(300, seed=1)


@pytest.fixture(scope="module")
def wanted(frame: pl.DataFrame, scorer: Scorer) -> np.ndarray:
    return scorer.score_records(frame.to_dicts()).score


def save(frame: pl.DataFrame, path: Path) -> Path:
    name = path.name
    if ".parquet" in name:
        frame.write_parquet(path, row_group_size=100)
        return path
    data = (frame.write_ndjson() if ".ndjson" in name else frame.write_csv()).encode()
    if name.endswith(".gz"):
        data = gzip.compress(data[:4000]) + gzip.compress(data[4000:])
    if name.endswith(".zst"):
        data = zstandard.compress(data[:4000]) + zstandard.compress(data[4000:])
    path.write_bytes(data)
    return path


def load(path: Path) -> pl.DataFrame:
    data = path.read_bytes()
    if path.name.endswith(".parquet"):
        return pl.read_parquet(data)
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    if path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return pl.read_ndjson(data) if ".ndjson" in path.name else pl.read_csv(data)


FORMATS = ["csv", "csv.gz", "csv.zst", "ndjson", "ndjson.gz", "parquet"]


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("out", ["csv", "csv.gz", "csv.zst", "ndjson", "parquet"])
def test_every_format_to_every_other(
    tmp_path: Path,
    artifact_path: Path,
    frame: pl.DataFrame,
    wanted: np.ndarray,
    source: str,
    out: str,
):
    target = tmp_path / f"out.{out}"
    done = score(artifact_path, save(frame, tmp_path / f"in.{source}"), "--out", target)
    assert done.returncode == 0, done.stderr
    got = load(target)
    assert got.columns == [*frame.columns, *ADDED]
    assert got["order"].to_list() == frame["order"].to_list()
    np.testing.assert_allclose(got["anomaly_score"].to_numpy(), wanted, rtol=1e-5)
    for name in ("amount", "age"):
        assert got[name].cast(pl.Float64).to_list() == frame[name].to_list()


def test_ndjson_lines_come_back_byte_for_byte(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    lines = [
        line.replace(":", ": ").replace(".5,", ".50,")
        for line in frame.write_ndjson().splitlines()
    ]
    lines.insert(3, '{"amount": NaN}')
    lines.insert(5, '{"amount": 1}')
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    rejects = tmp_path / "bad.csv"
    done = score(artifact_path, tmp_path / "in.ndjson", "--rejects", rejects)
    assert done.returncode == 0, done.stderr
    kept = [line for i, line in enumerate(lines) if i not in (3, 5)]
    out = done.stdout.decode().splitlines()
    assert all(
        new.startswith(old[:-1] + ',"anomaly_score":') for new, old in zip(out, kept, strict=True)
    )
    assert json.loads(out[0])["model_version"]
    bad = list(csv.DictReader(io.StringIO(rejects.read_text())))
    assert [(row["line"], row["code"]) for row in bad] == [("4", "json"), ("6", "missing")]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((text, text) for text in ("5", "5.0", "0.10", "-3", "1e3", "1E+05", "12345678901234")),
        *(("+5", "5"), ("007", "7"), ("5.", "5"), (".5", "0.5"), ("-.25", "-0.25")),
        *(("", "null"), ("nan", "null")),
    ],
)
def test_a_number_goes_from_csv_to_json_as_it_came(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, text: str, number: str
):
    rows = frame.head(3).with_columns(items=pl.lit(text), country=pl.lit('a "b"\\'))
    rows.write_csv(tmp_path / "in.csv")
    done = score(artifact_path, tmp_path / "in.csv", "--to", "ndjson", "--quiet")
    assert done.returncode == 0, done.stderr
    for line, row in zip(done.stdout.decode().splitlines(), rows.to_dicts(), strict=True):
        assert f',"items":{number},' in line
        found = json.loads(line)
        assert list(found) == [*frame.columns, *ADDED]
        assert (found["country"], found["express"]) == ('a "b"\\', row["express"])
        assert (found["amount"], found["age"]) == (row["amount"], row["age"])


@pytest.mark.parametrize("to", ["ndjson", "csv"])
def test_values_of_chosen_members_stand_as_they_came(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, to: str
):
    lines = [
        line.replace(':"o', ":1").replace('","amount"', ',"amount"').replace('"EUR"', '"\\u20ac"')
        for line in frame.head(20).write_ndjson().replace(".5,", ".50,").splitlines()
    ]
    assert json.loads(lines[3])["order"] == 13 and any(".50," in line for line in lines)
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    asked = ("--columns", "amount,order,currency", "--to", to, "--quiet")
    done = score(artifact_path, tmp_path / "in.ndjson", *asked)
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode().splitlines()
    for line, came in zip(out if to == "ndjson" else out[1:], lines, strict=True):
        amount, order = (came.split(f'"{name}":')[1].split(",")[0] for name in ("amount", "order"))
        if to == "csv":
            assert line.startswith(f"{amount},{order},€,")
        else:
            kept = f'{{"amount":{amount},"order":{order},"currency":"\\u20ac","anomaly_score":'
            assert line.startswith(kept)


def test_standard_input_may_be_ndjson(artifact_path: Path, frame: pl.DataFrame):
    done = score(artifact_path, stdin=frame.write_ndjson().encode())
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 300


def test_rejected_parquet_rows_are_named(tmp_path: Path, artifact_path: Path, frame: pl.DataFrame):
    bad = frame.with_columns(
        pl.when(pl.int_range(300) == 7).then(float("inf")).otherwise("amount").alias("amount")
    )
    source = save(bad, tmp_path / "in.parquet")
    done = score(
        artifact_path, source, "--out", tmp_path / "o.parquet", "--rejects", tmp_path / "r.csv"
    )
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text()))
    assert (row["line"], row["column"], row["code"]) == ("8", "amount", "range")
    assert len(pl.read_parquet(tmp_path / "o.parquet")) == 299


@pytest.mark.parametrize(
    "dtype",
    [pl.Binary, pl.List(pl.Binary), pl.List(pl.Int64), pl.Duration, pl.Struct({"a": pl.Binary})],
)
def test_rejected_parquet_rows_with_cells_of_any_type_are_written(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, dtype: Any
):
    value = (
        {"a": b"\xff"} if isinstance(dtype, pl.Struct) else b"\xff" if dtype == pl.Binary else None
    )
    extra = pl.Series("extra", [value] * 300, dtype)
    bad = frame.with_columns(
        pl.when(pl.int_range(300) == 7).then(float("inf")).otherwise("amount").alias("amount"),
        extra,
    )
    source = save(bad, tmp_path / "in.parquet")
    done = score(
        artifact_path, source, "--out", tmp_path / "o.parquet", "--rejects", tmp_path / "r.csv"
    )
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text()))
    assert list(json.loads(row["row"])) == bad.columns
    assert ("/w==" in row["row"]) == (value is not None)


def folder_of(tmp_path: Path, frame: pl.DataFrame) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i, part in enumerate(frame.iter_slices(100)):
        part.write_csv(folder / f"{i}.csv")
    (folder / "README").write_text("not data")
    return folder


@pytest.mark.parametrize("pattern", ["", "*.csv"])
def test_a_folder_and_a_glob_are_read_by_name(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, wanted: np.ndarray, pattern: str
):
    folder = folder_of(tmp_path, frame)
    done = score(artifact_path, folder / pattern, "--out", tmp_path / "out.csv", "--threads", "3")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        load(tmp_path / "out.csv")["anomaly_score"].to_numpy(), wanted, rtol=1e-5
    )


def test_files_with_reordered_columns_are_joined_by_name(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, wanted: np.ndarray
):
    folder = folder_of(tmp_path, frame)
    frame[100:200].select(reversed(frame.columns)).write_csv(folder / "1.csv", separator=";")
    done = score(artifact_path, folder, "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    got = load(tmp_path / "out.csv")
    assert got.select(frame.columns).equals(pl.read_csv(frame.write_csv().encode()))
    np.testing.assert_allclose(got["anomaly_score"].to_numpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_text(""), "must start with a header row"),
        (
            lambda path: path.write_text(path.read_text().replace("age", "aged")),
            "the input must have every column of the schema, but lacks 'age'",
        ),
        (lambda path: path.write_text(path.read_text().replace("order", "id")), "differ in 'id'"),
    ],
)
def test_a_bad_third_file_stops_the_job(
    tmp_path: Path,
    artifact_path: Path,
    frame: pl.DataFrame,
    spoil: Callable[[Path], object],
    message: str,
):
    folder = folder_of(tmp_path, frame)
    spoil(folder / "2.csv")
    done = score(artifact_path, folder, "--out", tmp_path / "out.csv")
    assert done.returncode == 3
    assert message in error_of(done) and str(folder / "2.csv") in error_of(done)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_all_files_are_looked_at_before_the_first_is_scored(
    tmp_path: Path, scorer: Scorer, frame: pl.DataFrame
):
    folder = folder_of(tmp_path, frame)
    frame.drop("age").write_csv(folder / "2.csv")

    def never(items: Iterable[FileChunk], stage: Stage) -> Iterator[ScoredChunk]:
        pytest.fail("a file was scored")

    with pytest.raises(
        SchemaError,
        match="2.csv': the input must have every column of the schema, but lacks 'age'",
    ):
        run(scorer, Job((str(folder),), str(tmp_path / "out.csv")), engine=never)


def test_a_folder_without_data_is_reported(tmp_path: Path, artifact_path: Path):
    done = score(artifact_path, tmp_path)
    assert done.returncode == 3 and "must hold files that end in .csv" in error_of(done)


def test_an_artifact_after_its_files_is_told_its_place(tmp_path: Path, artifact_path: Path):
    (tmp_path / "in.csv").write_text("a\n1\n")
    done = score(tmp_path / "in.csv", artifact_path)
    assert done.returncode == 3
    assert "is an artifact. An artifact comes before the files that it scores." in error_of(done)


def test_shards_share_the_files(tmp_path: Path, artifact_path: Path, frame: pl.DataFrame):
    folder, seen = folder_of(tmp_path, frame), []
    for i in range(4):
        out = tmp_path / f"{i}.csv"
        done = score(artifact_path, folder, "--out", out, "--shard", f"{i}/4")
        assert done.returncode == 0, done.stderr
        seen += load(out)["order"].to_list() if out.exists() else []
    assert sorted(seen) == sorted(frame["order"].to_list())
    assert b"must be I/N" in score(artifact_path, folder, "--shard", "4/4").stderr


def test_chosen_columns_and_anomalies_alone(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    lines = frame.with_columns(pl.col("amount").cast(pl.String) + "0").write_csv()
    (tmp_path / "in.csv").write_text(lines)
    done = score(
        artifact_path,
        tmp_path / "in.csv",
        "--columns",
        "amount,order",
        "--only-anomalies",
        "--alpha",
        "0.1",
    )
    rows = list(csv.reader(io.StringIO(done.stdout.decode())))
    assert rows[0] == ["amount", "order", *ADDED]
    amounts = dict(
        zip(frame["order"], (line.split(",")[1] for line in lines.splitlines()[1:]), strict=True)
    )
    assert 0 < len(rows) - 1 < 300
    assert all(row[0] == amounts[row[1]] and row[5] == "true" for row in rows[1:])
    done = score(artifact_path, tmp_path / "in.csv", "--columns", "price")
    assert done.returncode == 3 and "--columns: 'price' must be a column of" in error_of(done)
    done = score(artifact_path, tmp_path / "in.csv", "--columns", "Amountt")
    assert error_of(done).endswith("Did you mean 'amount'?\n")


@pytest.mark.parametrize(
    ("source", "out"),
    [("csv", "csv"), ("ndjson", "ndjson"), ("csv", "parquet"), ("parquet", "csv")],
)
def test_explain_gives_every_record_its_reasons_and_the_parts_of_its_score(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, scorer: Scorer, source: str, out: str
):
    target = tmp_path / f"out.{out}"
    file = save(frame, tmp_path / f"in.{source}")
    done = score(artifact_path, file, "--explain", "1", "--out", target)
    assert done.returncode == 0, done.stderr
    got = load(target)
    assert got.columns == [*frame.columns, *ADDED, *PART_COLUMNS]
    wanted = scorer.score_records(frame.to_dicts(), explain=1)
    shown = [bool(reasons) for reasons in wanted.reasons]  # none where a record is as expected
    assert got["top_reasons"].is_not_null().to_list() == shown and np.mean(shown) > 0.8
    assert not got["top_reasons"].str.contains(";").any()
    parts = got.select(PART_COLUMNS).to_numpy()
    # the network gives float32, and some of its parts are added as such
    np.testing.assert_allclose(parts.sum(axis=1), got["anomaly_score"], rtol=1e-6)
    assert wanted.parts is not None
    np.testing.assert_allclose(parts, list(map(astuple, wanted.parts)), rtol=1e-4, atol=1e-6)


def test_explain_without_any_record_has_the_same_columns(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    empty = save(frame.head(0), tmp_path / "in.parquet")
    for target in (tmp_path / "out.parquet", tmp_path / "out.csv"):
        done = score(artifact_path, empty, "--explain", "1", "--out", target)
        assert done.returncode == 0, done.stderr
        assert load(target).columns == [*frame.columns, *ADDED, *PART_COLUMNS]


def test_the_summary_and_the_metrics_add_up(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame, scorer: Scorer
):
    (tmp_path / "in.csv").write_text(frame.write_csv() + "short,row\n")
    done = score(
        artifact_path,
        tmp_path / "in.csv",
        "--out",
        tmp_path / "out.csv",
        "--rejects",
        tmp_path / "bad.csv",
        "--summary",
        tmp_path / "sum.json",
        "--metrics-file",
        tmp_path / "x.prom",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sum.json").read_text())
    out = load(tmp_path / "out.csv")
    assert (found["records"], found["scored"], found["rejected"]) == (301, 300, 1)
    assert found["anomalies"] == out["is_anomaly"].sum()
    assert sum(found["severity"]["records"]) == 300
    expected = Expected.at(scorer.artifact.calibration, 300)
    words = expected.words(found["anomalies"])
    assert found["expected"] == {
        "alarms": expected.mean,
        "bound": expected.bound,
        "by_chance": [expected.low, expected.high],
        "most_false": expected.most_false(found["anomalies"]),
        "worst_false": expected.worst_false(found["anomalies"]),
        "words": words,
    }
    assert words in done.stderr.decode().replace(":\n", ": ")
    edges = [-1.0, *found["severity"]["upper"][:-1], 99.0]
    assert found["severity"]["records"] == [
        ((out["severity"] > low) & (out["severity"] <= high)).sum()
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    assert set(found["column_drift_psi"]) == set(scorer.artifact.schema.names)
    families = {
        f.name: f for f in text_string_to_metric_families((tmp_path / "x.prom").read_text())
    }
    (gauge,) = families["vaewatch_batch_alarms_expected"].samples
    assert gauge.value == pytest.approx(expected.mean)
    records = {s.labels["verdict"]: s.value for s in families["vaewatch_batch_records"].samples}
    assert records == {
        "normal": 300 - found["anomalies"],
        "anomaly": found["anomalies"],
        "rejected": 1,
    }
    buckets = [
        s.value for s in families["vaewatch_batch_severity"].samples if s.name.endswith("_bucket")
    ]
    assert buckets[-1] == 300
    assert {
        "vaewatch_batch_duration_seconds",
        "vaewatch_batch_last_success_timestamp_seconds",
        "vaewatch_batch_column_drift_psi",
    } <= set(families)


@contextmanager
def gateway() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """The address of one that takes one push, and what was pushed: the path and the body."""
    pushed: list[tuple[str, bytes]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            pushed.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", pushed


def test_a_gateway_that_is_not_there_is_reported(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    source = save(frame, tmp_path / "in.csv")
    done = score(
        artifact_path, source, "--out", tmp_path / "out.csv", "--pushgateway", "127.0.0.1:9"
    )
    assert done.returncode == 1 and "must take metrics" in done.stderr.decode()
    assert error_of(done).endswith(
        " The output is whole. Run again with --resume to do only what is left.\n"
    )
    written = (tmp_path / "out.csv").stat()
    with gateway() as (url, pushed):
        asked = ("--out", tmp_path / "out.csv", "--pushgateway", url, "--resume", "--quiet")
        assert score(artifact_path, source, *asked).returncode == 0
    assert len(pushed) == 1
    assert (tmp_path / "out.csv").stat() == written
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


def test_too_many_anomalies_exit_with_5_and_keep_the_output(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    source = save(frame, tmp_path / "in.csv")
    done = score(artifact_path, source, "--out", tmp_path / "out.csv", "--fail-above", "0.0001")
    assert done.returncode == 5 and b"more than 0.010%" in done.stderr
    assert (tmp_path / "out.csv").exists()
    assert score(artifact_path, source, "--fail-above", "0.9").returncode == 0


def test_progress_is_json_for_schedulers_and_nothing_when_quiet(
    tmp_path: Path, artifact_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vaewatch.commands.progress.JSON_SECONDS", 0.0)
    source = save(pl.concat([make_frame(20_000)] * 3), tmp_path / "in.csv")
    done = score(
        artifact_path, source, "--out", tmp_path / "o.csv", "--progress", "json", "--threads", "1"
    )
    lines = [json.loads(line) for line in done.stderr.decode().splitlines()[:-1]]
    assert lines and all(0 < line["share"] <= 1 and line["records"] for line in lines)
    assert score(artifact_path, source, "--out", tmp_path / "o.csv", "--quiet").stderr == b""


def test_a_truncated_zst_file_is_reported(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    source = save(frame, tmp_path / "in.csv.zst")
    source.write_bytes(source.read_bytes()[:-20])
    done = score(artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3 and "must be a whole .zst file" in error_of(done)


def test_a_csv_file_named_parquet_is_reported(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    (tmp_path / "in.parquet").write_text(frame.write_csv())
    done = score(artifact_path, tmp_path / "in.parquet")
    assert done.returncode == 3 and "must be a Parquet file" in error_of(done)


def test_parquet_cannot_go_to_a_stream(tmp_path: Path, artifact_path: Path, frame: pl.DataFrame):
    done: subprocess.CompletedProcess[bytes] = score(
        artifact_path, save(frame, tmp_path / "in.parquet")
    )
    assert done.returncode == 1 and "must be a file to take Parquet" in error_of(done)


def test_no_row_is_still_a_whole_parquet_file(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    source = save(frame.head(0), tmp_path / "in.parquet")
    done = score(artifact_path, source, "--out", tmp_path / "out.parquet")
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "out.parquet").columns == [*frame.columns, *ADDED]


def test_metrics_are_pushed_to_a_gateway(tmp_path: Path, artifact_path: Path, frame: pl.DataFrame):
    with gateway() as (url, pushed):
        source = save(frame, tmp_path / "in.csv")
        done = score(artifact_path, source, "--out", tmp_path / "o.csv", "--pushgateway", url)
    assert done.returncode == 0, done.stderr
    ((path, body),) = pushed
    assert path == "/metrics/job/vaewatch_batch/model/shop"
    assert b'vaewatch_batch_records{model="shop",verdict="normal"}' in body


def test_a_terminal_gets_a_bar(tmp_path: Path, artifact_path: Path):
    source = save(make_frame(20_000), tmp_path / "in.csv")
    seen = terminal("score", artifact_path, source, "--out=out.csv", cwd=tmp_path, columns=120)
    assert seen.returncode == 0
    assert any("20,000 records" in line and "100%" in line for line in seen.drawn)


def test_a_disk_that_fills_is_reported_and_leaves_no_output(tmp_path: Path, artifact_path: Path):
    source = save(make_frame(50_000), tmp_path / "in.csv")
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    command = [sys.executable, "-c", limit + "from vaewatch.__main__ import main; main()", "score"]
    asked = [*command, str(artifact_path), str(source), "--out", str(tmp_path / "out.csv")]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert f"'{tmp_path / 'out.csv'}' could not be written: File too large." in error_of(done)
    assert os.listdir(tmp_path) == ["in.csv"]


def test_a_line_of_100_mb_is_one_rejected_row(
    tmp_path: Path, artifact_path: Path, frame: pl.DataFrame
):
    lines = frame.write_csv().encode().splitlines(keepends=True)
    source = tmp_path / "in.csv"
    source.write_bytes(b"".join([*lines[:9], b"x" * (100 << 20) + b"\n", *lines[9:]]))
    rejects = tmp_path / "bad.csv"
    done = score(artifact_path, source, "--out", tmp_path / "out.csv", "--rejects", rejects)
    assert done.returncode == 0 and b"300 records" in done.stderr
    (row,) = csv.DictReader(io.StringIO(rejects.read_text()))
    assert (row["line"], row["code"], len(row["row"])) == ("10", "row", 1000)
    assert row["message"] == "a row must be at most 16 MiB, but the row that starts here is not"


def test_a_delimiter_may_be_given(tmp_path: Path, artifact_path: Path, frame: pl.DataFrame):
    source = tmp_path / "in.csv"
    source.write_text(frame.write_csv(separator=":"))
    out = score(artifact_path, source, "--delimiter", ":").stdout
    assert out.splitlines()[0].decode() == ":".join([*frame.columns, *ADDED])
    done = score(artifact_path, source, "--delimiter", "::")
    assert done.returncode == 2 and b"must be one ASCII character" in done.stderr
