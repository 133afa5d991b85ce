"""What a file may hold that no program wants to read: each costs its own row, or is reported."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import call, make_frame

ROWS = make_frame(60).write_csv().splitlines()


@pytest.mark.parametrize(
    ("bad", "code", "message"),
    [
        (b"o1,2", "fields", "a row must have 8 fields, got 2"),
        (b"o1" + 20 * b",3", "fields", "a row must have 8 fields, got 21"),
        (b'o1,"2', "row", "a quote must be closed, but the row that starts here is not"),
        (b"o1\0" + 7 * b",3", "encoding", "a row must be text, got a NUL byte"),
        (b"\xe9t\xe9" + 7 * b",3", "encoding", "a row must be UTF-8 text, got other bytes"),
    ],
)
def test_a_bad_row_costs_itself_alone(
    tmp_path: Path, artifact_path: Path, bad: bytes, code: str, message: str
):
    source, out, rejects = (tmp_path / name for name in ("in.csv", "out.csv", "bad.csv"))
    sound = [row.encode() for row in ROWS]
    source.write_bytes(b"\n".join([*sound[:31], bad, *sound[31:], b""]))
    done = call("score", artifact_path, source, "--out", out, "--rejects", rejects)
    assert done.returncode == 0, done.stderr
    assert "scored 60 records" in done.stderr and "1 rejected" in done.stderr
    (row,) = csv.DictReader(io.StringIO(rejects.read_bytes().decode("latin-1")))
    assert (row["line"], row["code"], row["message"]) == ("32", code, message)
    assert row["row"].encode("latin-1") == bad
    kept = [line.encode() for line in out.read_text().splitlines()]
    assert all(new.startswith(old + b",") for new, old in zip(kept, sound, strict=True))
    done = call("score", artifact_path, source, "--out", tmp_path / "no.csv")
    assert done.returncode == 3 and f"'{source}', line 32: {message}. Mend it" in done.stderr
    assert not (tmp_path / "no.csv").exists()


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a byte order mark"])
def test_a_header_between_joined_files_is_one_fault(
    tmp_path: Path, artifact_path: Path, mark: str
):
    source, rejects = tmp_path / "in.csv", tmp_path / "bad.csv"
    source.write_text("\n".join([*ROWS[:31], mark + ROWS[0], *ROWS[31:], ""]))
    rule = "a row must be a record, but this one repeats the header, as where files were joined"
    remedy = "Remove it, or pass --rejects FILE to set such rows aside and go on."
    done = call("score", artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3
    assert done.stderr == f"error: '{source}', line 32: {rule}. {remedy}\n"
    for words in (
        ("evaluate", artifact_path, source, "--label", "express"),
        ("train", source, "--out", tmp_path / "it"),
    ):
        done = call(*words)
        assert done.returncode == 3
        assert f"error: '{source}': {rule} (line 32). Mend or remove that row" in done.stderr
    words = ("--out", tmp_path / "out.csv", "--rejects", rejects)
    done = call("score", artifact_path, source, *words)
    assert "scored 60 records" in done.stderr and "1 rejected" in done.stderr
    (row,) = csv.DictReader(io.StringIO(rejects.read_text()))
    assert (row["line"], row["column"], row["code"]) == ("32", "", "header")
    assert (row["message"], row["row"]) == (rule, mark + ROWS[0])


def test_decimal_commas_are_named_with_what_to_do(tmp_path: Path, artifact_path: Path):
    frame = make_frame(60).with_columns(
        pl.col("amount").cast(pl.String).str.replace(".", ",", literal=True)
    )
    source, rejects = tmp_path / "in.csv", tmp_path / "bad.csv"
    frame.write_csv(source, separator=";")
    rule = "column 'amount' must be a number with a decimal point, got one with a comma"
    remedy = (
        "Write decimal points, as the records of the fit have, or train with records that have "
        "commas."
    )
    done = call("score", artifact_path, source, "--out", tmp_path / "out.csv")
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: '{source}', line 2: {rule}. Mend it, or pass")
    assert done.stderr.endswith(f"{remedy}\n")
    done = call("evaluate", artifact_path, source, "--label", "express")
    more = f"{rule} (record 0). 59 more problems follow. {remedy}"
    assert (done.returncode, done.stderr) == (3, f"error: {more}\n")
    words = ("--out", tmp_path / "out.csv", "--rejects", rejects, "--quiet")
    assert call("score", artifact_path, source, *words).returncode == 0
    rows = list(csv.DictReader(io.StringIO(rejects.read_text())))
    assert {(row["code"], row["message"]) for row in rows} == {("decimal", rule)}
    assert [row["line"] for row in rows] == [str(line) for line in range(2, 62)]


def test_an_empty_file_between_good_ones_of_a_glob_is_named(tmp_path: Path, artifact_path: Path):
    for i in range(3):
        (tmp_path / f"{i}.csv").write_text("" if i == 1 else "\n".join(ROWS))
    done = call("score", artifact_path, tmp_path / "*.csv", "--out", tmp_path / "out.csv")
    assert done.returncode == 3
    assert done.stderr == (
        f"error: '{tmp_path / '1.csv'}': the input must start with a header row of column names, "
        "got nothing.\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv", "2.csv"]


@pytest.mark.parametrize(
    ("alpha", "code", "message"),
    [
        ("2", 2, "alpha must be at least 1e-09 and below 1, got 2."),
        ("0.0001", 3, "alpha 0.0001 takes at least 9,999 calibration records, got 100."),
    ],
)
def test_an_alpha_out_of_reach_is_refused_before_anything_is_written(
    tmp_path: Path, artifact_path: Path, alpha: str, code: int, message: str
):
    make_frame(20).write_csv(tmp_path / "in.csv")
    for out in (("--out", tmp_path / "out.csv"), ()):
        done = call("score", artifact_path, tmp_path / "in.csv", "--alpha", alpha, *out)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_record_of_another_schema_names_a_few_of_the_columns_that_it_lacks(
    tmp_path: Path, artifact_path: Path
):
    (tmp_path / "in.ndjson").write_text('{"other": 1}\n')
    done = call("score", artifact_path, tmp_path / "in.ndjson", "--out", tmp_path / "o.ndjson")
    assert done.returncode == 3 and done.stderr.count("must be there") == 5
    assert "; and 1 more. Mend it, or pass --rejects FILE" in done.stderr
