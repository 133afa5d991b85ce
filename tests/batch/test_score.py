"""`vaewatch score`, through the real command line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import call, make_frame
from vaewatch.batch.added import ADDED
from vaewatch.scoring.scorer import Scorer

COMMAND = [sys.executable, "-m", "vaewatch", "score"]
ROOT = Path(__file__).parents[2]


def score(
    *arguments: str | Path, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The command in this process; with something on stdin, in one of its own."""
    words = [*COMMAND, *map(str, arguments)]
    if stdin is None:
        done = call("score", *arguments)
        out, err = done.stdout.encode(), done.stderr.encode()
        return subprocess.CompletedProcess(words, done.returncode, out, err)
    return subprocess.run(words, input=stdin, capture_output=True, cwd=ROOT, timeout=60)


def error_of(done: subprocess.CompletedProcess[bytes]) -> str:
    text = done.stderr.decode()
    assert text.startswith("error: ") and text.count("\n") == 1, text
    return text


@pytest.fixture(scope="module")
def lines(mixed_frame: pl.DataFrame) -> list[str]:
    """A header and 50 sound rows."""
    return mixed_frame.head(50).write_csv().splitlines()


def write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def test_input_columns_come_back_byte_for_byte(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    lines = [lines[0], *(line.replace(".", ".0") for line in lines[1:])]
    source = write(tmp_path / "in.csv", lines)
    done = score(artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    assert b"scored 50 records" in done.stderr
    out = (tmp_path / "out.csv").read_text().splitlines()
    assert out[0] == lines[0] + "," + ",".join(ADDED)
    assert all(new.startswith(old + ",") for new, old in zip(out, lines, strict=True))
    assert sorted(os.listdir(tmp_path)) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("first", ["\ufeffo0", " o\t0 ", "\x01", "#", "'", "", "\u2028"])
def test_odd_first_cells_come_back_byte_for_byte(
    tmp_path: Path, artifact_path: Path, lines: list[str], first: str
):
    odd = [first + "," + line.split(",", 1)[1] for line in lines[1:]]
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes("\n".join([lines[0], *odd]).encode())
    done = call("score", artifact_path, source, "--out", out)
    assert done.returncode == 0, done.stderr
    rows = out.read_bytes().decode().split("\n")[1:-1]
    assert all(new.startswith(old + ",") for new, old in zip(rows, odd, strict=True))


def test_what_is_added_is_what_the_scorer_says(
    tmp_path: Path, artifact_path: Path, scorer: Scorer, mixed_frame: pl.DataFrame
):
    frame = mixed_frame.with_columns(pl.when(pl.int_range(pl.len()) < 5).then(1e6).alias("amount"))
    frame.write_csv(tmp_path / "in.csv")
    score(artifact_path, tmp_path / "in.csv", "--out", tmp_path / "out.csv")
    got = pl.read_csv(tmp_path / "out.csv")
    verdicts = scorer.score_records(frame.to_dicts())
    for name, wanted in [
        ("anomaly_score", verdicts.score),
        ("p_value", verdicts.p_value),
        ("severity", verdicts.severity),
    ]:
        np.testing.assert_allclose(got[name].to_numpy(), wanted, rtol=1e-5)
    assert got["is_anomaly"].to_list() == verdicts.is_anomaly.tolist()
    assert got["top_reasons"][0] == "; ".join(map(str, verdicts.reasons[0]))
    assert got["model_version"].unique().to_list() == [scorer.artifact.version]


def test_numbers_are_written_in_full(tmp_path: Path, artifact_path: Path):
    frame = make_frame(400, seed=3).with_columns(
        pl.when(pl.int_range(pl.len()) < 50)
        .then(pl.lit("XX"))
        .otherwise("country")
        .alias("country")
    )
    frame.write_csv(tmp_path / "in.csv")
    for to in ("csv", "parquet", "ndjson"):
        out = tmp_path / f"out.{to}"
        assert call("score", artifact_path, tmp_path / "in.csv", "--out", out).returncode == 0
    exact = pl.read_parquet(tmp_path / "out.parquet")
    for got in (pl.read_csv(tmp_path / "out.csv"), pl.read_ndjson(tmp_path / "out.ndjson")):
        for name in ("anomaly_score", "p_value", "severity"):
            assert got[name].to_list() == exact[name].to_list()
        assert 50 <= got["is_anomaly"].sum() < 400
        assert (got["p_value"] <= 0.05).to_list() == got["is_anomaly"].to_list()


LETTERS = st.characters(codec="utf-8", exclude_characters="\r\0")
CELLS = {
    "amount": st.one_of(st.none(), st.floats(allow_infinity=False, allow_nan=False, width=32)),
    "items": st.one_of(st.none(), st.integers(-(10**6), 10**12)),
    "age": st.one_of(st.none(), st.floats(-1e3, 1e3)),
    "country": st.one_of(st.none(), st.text(LETTERS, min_size=1)),
    "express": st.one_of(st.none(), st.booleans()),
    "currency": st.one_of(st.none(), st.sampled_from(["EUR", "USD"])),
    "version": st.one_of(st.none(), st.integers(0, 9)),
}


@given(st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_a_row_scores_the_same_from_a_file_and_from_json(
    scorer: Scorer, records: list[dict[str, Any]]
):
    from vaewatch.scoring.files.csv import CsvFile

    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CELLS)
    for record in records:
        writer.writerow("" if value is None else value for value in map(record.get, CELLS))
    file = CsvFile.open(
        "in.csv", io.BytesIO(text.getvalue().encode()), scorer.artifact.schema, None
    )
    tables = [file.parse(chunk).table for chunk in file.chunks()]
    scores = np.concatenate([scorer.score_table(table).score for table in tables])
    wanted = scorer.score_records(json.loads(json.dumps(records))).score
    np.testing.assert_allclose(scores, wanted, rtol=1e-5)


def test_a_bad_row_stops_the_job_without_a_rejects_file(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    bad = lines[3].replace(lines[3].split(",")[1], "ten")
    source = write(tmp_path / "in.csv", [*lines[:3], bad, *lines[4:]])
    done = score(artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3
    assert error_of(done) == (
        f"error: '{source}', line 4: column 'amount' must be a number, got a string. Mend it, or "
        "pass --rejects FILE to set such rows aside and go on. If a text means missing, train "
        "with --null.\n"
    )
    assert os.listdir(tmp_path) == ["in.csv"]


def test_bad_rows_are_set_aside_with_their_line_column_and_bytes(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    cells = lines[1].split(",")
    bad = {
        "type": ",".join([cells[0], "ten", *cells[2:]]),
        "range": ",".join([cells[0], "1e400", *cells[2:]]),
        "fields": lines[1] + ",more",
        "quote": 'a"b,' + lines[1],
    }
    source = write(tmp_path / "in.csv", [*lines[:5], *bad.values(), *lines[5:]])
    with open(source, "ab") as file:
        file.write(b"\xe9" + lines[1].encode() + b"\n")
    out, rejects = tmp_path / "out.csv", tmp_path / "rejects.csv"
    done = score(artifact_path, source, "--out", out, "--rejects", rejects)
    assert done.returncode == 0, done.stderr
    assert b"50 records" in done.stderr and b"5 rejected" in done.stderr
    assert len(out.read_text().splitlines()) == 51
    rows = list(csv.DictReader(io.StringIO(rejects.read_bytes().decode("latin-1"), newline="")))
    assert [row["code"] for row in rows] == [*bad, "encoding"]
    assert [row["line"] for row in rows] == ["6", "7", "8", "9", "56"]
    assert [row["column"] for row in rows] == ["amount", "amount", "", "", ""]
    assert [row["row"] for row in rows][:4] == list(bad.values())
    assert rows[0]["message"] == "column 'amount' must be a number, got a string"
    assert rows[1]["message"] == "column 'amount' must be a finite number, got infinity"
    assert rows[2]["message"] == "a row must have 8 fields, got 9"


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e400"])
def test_an_infinite_number_is_refused(
    tmp_path: Path, artifact_path: Path, lines: list[str], value: str
):
    cells = lines[1].split(",")
    source = write(tmp_path / "in.csv", [lines[0], ",".join([cells[0], value, *cells[2:]])])
    done = score(artifact_path, source)
    assert done.returncode == 3 and "must be a finite number" in error_of(done)


def verdicts_of(data: bytes) -> list[list[str]]:
    return [row[-6:] for row in csv.reader(io.StringIO(data.decode(), newline=""))]


def as_bom(lines: list[str]) -> bytes:
    return b"\xef\xbb\xbf" + "\n".join(lines).encode()


def as_crlf(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, ""]).encode()


def as_semicolons(lines: list[str]) -> bytes:
    return "\n".join(lines).replace(",", ";").encode()


def as_reordered(lines: list[str]) -> bytes:
    return "\n".join(",".join(reversed(line.split(","))) for line in lines).encode()


def as_extra(lines: list[str]) -> bytes:
    return "\n".join(f"{i},{line}" for i, line in enumerate(lines)).encode()


def as_quoted_newline(lines: list[str]) -> bytes:
    cells = [line.split(",", 1)[1] for line in lines]
    return "\n".join([lines[0], *(f'"a\nb, ""c""",{cell}' for cell in cells[1:])]).encode()


def as_gzip(lines: list[str]) -> bytes:
    return gzip.compress("\n".join(lines).encode())


@pytest.mark.parametrize(
    "spelled", [as_bom, as_crlf, as_semicolons, as_reordered, as_extra, as_quoted_newline, as_gzip]
)
def test_how_a_file_is_spelled_changes_no_verdict(
    tmp_path: Path, artifact_path: Path, lines: list[str], spelled: Callable[[list[str]], bytes]
):
    plain = score(artifact_path, write(tmp_path / "plain.csv", lines))
    source = tmp_path / ("in.csv.gz" if spelled is as_gzip else "in.csv")
    source.write_bytes(spelled(lines))
    done = score(artifact_path, source)
    assert done.returncode == 0, done.stderr
    wanted, got = verdicts_of(plain.stdout), verdicts_of(done.stdout.replace(b";", b","))
    assert got == wanted or spelled is as_semicolons


def test_line_ends_and_quotes_come_back(tmp_path: Path, artifact_path: Path, lines: list[str]):
    source = tmp_path / "in.csv"
    source.write_bytes(as_crlf(lines[:3]) + as_quoted_newline(lines[:3]).split(b"\n", 1)[1])
    out = score(artifact_path, source).stdout
    assert out.count(b"\r\n") == 4  # the last row had none, so it gets the header's
    assert b'\n"a\nb, ""c""",' in out


def test_unseen_categories_and_unicode_are_anomalies_with_a_reason(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    source = write(
        tmp_path / "in.csv",
        [lines[0], *(re.sub(",(NL|DE|FR),", ",Ελλάδα,", line) for line in lines[1:4])],
    )
    rows = verdicts_of(score(artifact_path, source).stdout)
    assert [row[3] for row in rows[1:]] == ["true"] * 3
    assert all("country is Ελλάδα, expected " in row[4] for row in rows[1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("amount", "amounts"),
            "the input must have every column of the schema, but lacks 'amount'. Did you mean "
            "'amount' by 'amounts'? Columns the schema does not know: 'amounts'",
        ),
        (("items", "amount"), "column names must differ, but 'amount' is there 2 times"),
        (("order", "p_value"), "column 'p_value' must not be in the input"),
        (("order", "score_kl"), "column 'score_kl' must not be in the input"),
    ],
)
def test_a_wrong_header_is_an_error(
    tmp_path: Path, artifact_path: Path, lines: list[str], change: tuple[str, str], message: str
):
    source = write(tmp_path / "in.csv", [lines[0].replace(*change), *lines[1:]])
    done = score(artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3 and message in error_of(done)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, artifact_path: Path, content: bytes):
    (tmp_path / "in.csv").write_bytes(content)
    done = score(artifact_path, tmp_path / "in.csv")
    assert done.returncode == 3 and "must start with a header row" in error_of(done)


def test_a_header_alone_gives_a_header_alone(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    source = write(tmp_path / "in.csv", lines[:1])
    done = score(artifact_path, source)
    assert done.returncode == 0 and b"scored 0 records" in done.stderr
    assert done.stdout.decode() == lines[0] + "," + ",".join(ADDED) + "\n"


def test_a_parquet_file_named_csv_is_reported(
    tmp_path: Path, artifact_path: Path, mixed_frame: pl.DataFrame
):
    mixed_frame.write_parquet(tmp_path / "in.csv")
    done = score(artifact_path, tmp_path / "in.csv")
    assert done.returncode == 3 and "got a Parquet file; name it .parquet" in error_of(done)


def test_a_truncated_gzip_file_is_reported(tmp_path: Path, artifact_path: Path, lines: list[str]):
    source = tmp_path / "in.csv.gz"
    source.write_bytes(as_gzip(lines)[:-20])
    done = score(artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3 and "must be a whole .gz file" in error_of(done)
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_input_is_reported(tmp_path: Path, artifact_path: Path):
    done = score(artifact_path, tmp_path / "no.csv")
    assert done.returncode == 3 and "must be readable: No such file" in error_of(done)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission_is_reported(tmp_path: Path, artifact_path: Path, lines: list[str]):
    source = write(tmp_path / "in.csv", lines)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    done = score(artifact_path, source, "--out", folder / "out.csv")
    assert done.returncode == 1 and "could not be written: Permission denied" in error_of(done)
    source.chmod(0)
    done = score(artifact_path, source)
    assert done.returncode == 3 and "must be readable: Permission denied" in error_of(done)


def test_a_missing_folder_is_reported(tmp_path: Path, artifact_path: Path, lines: list[str]):
    source = write(tmp_path / "in.csv", lines)
    done = score(artifact_path, source, "--out", tmp_path / "no" / "out.csv")
    assert done.returncode == 1 and "could not be written: No such file or directory" in error_of(
        done
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--out", "--rejects"])
def test_a_full_disk_is_reported(
    tmp_path: Path, artifact_path: Path, lines: list[str], option: str
):
    source = write(tmp_path / "in.csv", lines)
    done = score(artifact_path, source, option, "/dev/full")
    assert done.returncode == 1
    assert "'/dev/full' could not be written: No space left on device." in error_of(done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_reported(
    tmp_path: Path, artifact_path: Path, lines: list[str]
):
    command = [*COMMAND, str(artifact_path), str(write(tmp_path / "in.csv", lines))]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, timeout=60, check=False
        )
    assert done.returncode == 1
    assert error_of(done) == (
        "error: 'standard output' could not be written: No space left on device.\n"
    )


def test_the_output_must_not_be_the_input(tmp_path: Path, artifact_path: Path, lines: list[str]):
    source = write(tmp_path / "in.csv", lines)
    (tmp_path / "same.csv").symlink_to(source)
    done = score(artifact_path, source, "--out", tmp_path / "same.csv")
    assert done.returncode == 2 and b"--out must be a file other than the input" in done.stderr
    assert source.read_text().splitlines() == lines


def test_a_reader_that_goes_away_ends_the_job_quietly(tmp_path: Path, artifact_path: Path):
    make_frame(20_000).write_csv(tmp_path / "in.csv")
    command = [*COMMAND, str(artifact_path), str(tmp_path / "in.csv")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe) as job:
        assert job.stdout and job.stderr
        job.stdout.readline()
        job.stdout.close()
        assert job.wait(60) == 141 and job.stderr.read() == b""


def test_standard_input_and_output(artifact_path: Path, lines: list[str]):
    done = score(artifact_path, "-", stdin="\n".join(lines).encode())
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 51


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path, artifact_path: Path, lines: list[str]):
    out = tmp_path / "out.csv"
    command = [*COMMAND, str(artifact_path), "-", "--out", str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdin and job.stderr
        job.stdin.write("\n".join([*lines, ""]).encode() * 3000)
        job.stdin.flush()
        for _ in range(300):
            if os.listdir(tmp_path):
                break
            time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        assert job.wait(60) == 130
        assert job.stderr.read().strip().startswith(b"error: interrupted")
    assert os.listdir(tmp_path) == []


def test_help_imports_nothing_heavy_and_names_the_added_columns():
    listing = "import sys, atexit; atexit.register(lambda: print(*sys.modules)); "
    command = [
        sys.executable,
        "-c",
        listing + "from vaewatch.__main__ import main; main()",
        "score",
        "--help",
    ]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60)
    assert not set(done.stdout.decode().split()) & {"numpy", "polars", "onnxruntime"}
    assert all(name in " ".join(done.stdout.decode().split()) for name in ADDED)
