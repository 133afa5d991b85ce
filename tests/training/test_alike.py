"""Records that follow one another closely, but are judged one by one: what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import call
from tests.training.telemetry import WORDS, series
from tests.training.test_time import make_orders

TIMED = ("--time", "ts")
SAID = (
    "records come about every 10s, and column 'pressure' is alike from one to the next. Each "
    "record is judged by itself, and the interval of the false-alarm rate and the blocks of time "
    "take records as independent, so that they promise more than such records can. --window auto "
    "judges the course of records, with --entity if they are of several; --window 1 says that "
    "single ones are meant."
)


@pytest.fixture
def gauge(tmp_path: Path) -> Path:
    series(machines=1).drop("machine").write_csv(tmp_path / "gauge.csv")
    return tmp_path / "gauge.csv"


def test_train_says_that_neighbours_are_alike_but_judged_one_by_one(gauge: Path, tmp_path: Path):
    words = ("--alpha", 0.05, "--no-report", "--quiet", "--out", tmp_path / "art")
    done = call("train", gauge, *TIMED, *WORDS, *words)
    assert done.returncode == 0 and f"warning: {SAID}\n" in done.stderr


def test_profile_says_the_same(gauge: Path):
    assert f"ts: alike: {SAID}\n" in call("profile", gauge, *TIMED).stdout


def test_several_that_come_at_a_time_are_taken_together(tmp_path: Path):
    series().write_csv(tmp_path / "three.csv")
    assert SAID in call("profile", tmp_path / "three.csv", *TIMED, "--ignore", "machine").stdout


@pytest.mark.parametrize("words", [("--window", "auto"), ("--window", "1")])
def test_nothing_is_said_where_a_window_was_chosen(gauge: Path, words: tuple[str, ...]):
    done = call("profile", gauge, *TIMED, *words)
    assert done.returncode == 0 and "alike" not in done.stdout


def test_nothing_is_said_of_orders_nor_of_what_grows(tmp_path: Path):
    make_orders(600).write_csv(tmp_path / "orders.csv")
    done = call("profile", tmp_path / "orders.csv", "--id", "order", "--time", "created_at")
    assert done.returncode == 0 and "alike" not in done.stdout
    noise = np.random.default_rng(0).normal(size=300)
    grows = series(machines=1).select("ts", total=pl.int_range(pl.len()) * 2.5, flow=noise)
    grows.write_csv(tmp_path / "grows.csv")
    said = call("profile", tmp_path / "grows.csv", *TIMED).stdout
    assert "trend: column 'total'" in said and "alike" not in said
