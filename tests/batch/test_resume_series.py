"""A job of windows that is killed goes on with the history that it had, to the same bytes."""

from __future__ import annotations

import signal
from pathlib import Path

import polars as pl
import pytest

from tests.batch.series import by_time, make_machines
from tests.batch.test_score_resume import run, stop


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files in order of time, with a late record, a bad row, and a machine that changes."""
    folder = tmp_path_factory.mktemp("machines")
    made = make_machines(2_500, 6, seed=3)
    odd = (pl.col("machine") == "m2") & (pl.int_range(pl.len()) >= 5_400)
    frame = by_time(made.with_columns(pressure=pl.col("pressure") + 3.0 * odd.cast(pl.Float64)))
    frame = pl.concat([frame[:6_000], frame[100:101], frame[6_000:]])
    lines = frame.write_csv().splitlines()
    (folder / "0.csv").write_text("\n".join([*lines[:7_500], "ragged"]) + "\n")
    (folder / "1.csv").write_text("\n".join([lines[0], *lines[7_500:]]) + "\n")
    return folder


def outputs(folder: Path, *more: object) -> tuple[object, ...]:
    return ("--out", folder / "out.csv", "--rejects", folder / "bad.csv", *more)


def summary_of(folder: Path) -> str:
    """What was counted, without what differs from run to run."""
    lines = (folder / "s.json").read_text().splitlines()
    differ = ("seconds", "records_of", "records_per", "output", "rejects")
    return "\n".join(line for line in lines if not line.lstrip(' "').startswith(differ))


@pytest.mark.parametrize("sort", [(), ("--sort",)])
def test_a_killed_job_goes_on_with_its_history(
    machines_path: Path, source: Path, tmp_path: Path, sort: tuple[str, ...]
):
    whole = tmp_path / "whole"
    whole.mkdir()
    done = run(machines_path, source, *outputs(whole), "--summary", whole / "s.json", *sort)
    assert done.returncode == 0, done.stderr
    words = (machines_path, source, *outputs(tmp_path), "--summary", tmp_path / "s.json", *sort)
    journal = tmp_path / ".out.csv.journal"
    for _ in range(2):
        stop(signal.SIGKILL, journal, *words, "--resume")
    assert any(tmp_path.glob(".out.csv.history-*"))
    done = run(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert b"of them before it was resumed" in done.stderr
    for name in ("out.csv", "bad.csv"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert summary_of(tmp_path) == summary_of(whole)
    assert not list(tmp_path.glob(".out*history*")) and not journal.exists()


def test_a_damaged_history_is_refused_and_a_new_start_is_not(
    machines_path: Path, source: Path, tmp_path: Path
):
    words = (machines_path, source, *outputs(tmp_path))
    stop(signal.SIGKILL, tmp_path / ".out.csv.journal", *words)
    for path in tmp_path.glob(".out.csv.history-*"):
        path.write_bytes(path.read_bytes()[:-1])
    done = run(*words, "--resume")
    assert done.returncode != 0 and b"must be the history of a job" in done.stderr
    for path in tmp_path.glob(".out.csv.history-*"):
        path.unlink()
    done = run(*words, "--resume")
    assert done.returncode != 0 and b"it is missing or damaged" in done.stderr
    assert run(*words).returncode == 0
    assert not list(tmp_path.glob(".out*history*"))


def test_another_bound_of_the_history_is_another_job(
    machines_path: Path, source: Path, tmp_path: Path
):
    words = (machines_path, source, *outputs(tmp_path))
    stop(signal.SIGKILL, tmp_path / ".out.csv.journal", *words)
    done = run(*words, "--resume", "--max-entities", 3)
    assert done.returncode != 0 and b"the settings have changed" in done.stderr
