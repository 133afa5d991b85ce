"""Reading what to train on: every format, samples of what is large, and what differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import make_frame
from vaewatch.scoring.errors import SchemaError
from vaewatch.training.records.read import fingerprint, read_frame, read_sample


@pytest.fixture
def frame() -> pl.DataFrame:
    return pl.DataFrame({"row": np.arange(1000), "x": np.arange(1000) / 7})


def test_all_rows_come_in_their_order_without_a_limit(frame: pl.DataFrame, tmp_path: Path):
    frame.write_csv(tmp_path / "it.csv")
    frame.write_parquet(tmp_path / "it.parquet")
    for data in (frame, frame.to_pandas(), tmp_path / "it.csv", tmp_path / "it.parquet"):
        rows = read_frame(data)["row"].cast(pl.Int64).to_list()
        assert rows == list(range(1000))


def test_a_sample_is_uniform_in_order_and_the_same_for_a_seed(frame: pl.DataFrame):
    counts = np.zeros(1000)
    for seed in range(200):
        sample = read_sample(frame, 100, seed)
        rows = sample.frame["row"].to_numpy()
        assert sample.total == 1000 and len(rows) == 100 and np.all(np.diff(rows) > 0)
        counts[rows] += 1
    assert read_sample(frame, 100, 7).frame.equals(read_sample(frame, 100, 7).frame)
    expected, deviation = 20, np.sqrt(200 * 0.1 * 0.9)
    assert np.all(np.abs(counts - expected) < 5 * deviation)
    halves = counts[:500].sum(), counts[500:].sum()
    assert abs(halves[0] - halves[1]) < 5 * np.sqrt(1000 * 200 * 0.09)


def test_a_sample_of_many_small_blocks_is_uniform_too(tmp_path: Path):
    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i:02}.parquet")
        pl.DataFrame({"row": np.arange(50) + 50 * i}).write_parquet(paths[-1])
    counts = np.zeros(1000)
    for seed in range(100):
        sample = read_sample(paths, 40, seed)
        assert sample.total == 1000 and len(sample.frame) == 40
        counts[sample.frame["row"].to_numpy()] += 1
    by_file = counts.reshape(20, 50).sum(1)
    assert np.all(np.abs(by_file - 200) < 5 * np.sqrt(4000 * 0.05 * 0.95))


def test_files_that_differ_in_columns_are_refused(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(SchemaError, match="must have the same columns.*differ in 'y'"):
        read_frame([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_no_file_is_refused():
    with pytest.raises(SchemaError, match="at least one file of normal records must be given"):
        read_frame([])


def test_what_is_no_parquet_is_named(tmp_path: Path):
    (tmp_path / "it.parquet").write_text("hello")
    with pytest.raises(SchemaError, match="it.parquet' must be a Parquet file"):
        read_frame(tmp_path / "it.parquet")


def test_the_fingerprint_changes_with_a_value_a_name_and_an_order():
    frame = make_frame(50)
    marks = {
        fingerprint(frame),
        fingerprint(frame.with_columns(amount=pl.lit(1.0))),
        fingerprint(frame.rename({"amount": "sum"})),
        fingerprint(frame.reverse()),
    }
    assert len(marks) == 4 and fingerprint(frame) == fingerprint(make_frame(50))
