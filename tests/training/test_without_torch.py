"""Commands that use an exported network do without torch, whose import takes a second."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.batch.series import START, WINDOW, make_machines
from tests.conftest import SMALL, make_frame
from tests.without import run_without
from vaewatch.training.train import train


@pytest.fixture(scope="module")
def windows_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, given = tmp_path_factory.mktemp("artifacts") / "machines", make_machines(600)
    train(given, out, alpha=0.05, time="ts", entity="machine", window=WINDOW, **SMALL)
    return out


def works(command: str, artifact: Path, new: pl.DataFrame, cwd: Path) -> None:
    new.write_csv(cwd / "new.csv")
    label = (pl.int_range(pl.len()) % 10 == 0).cast(int)
    new.with_columns(label=label).write_csv(cwd / "labelled.csv")
    done = run_without(("torch",), *command.format(artifact).split(), cwd=cwd)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["recalibrate {} new.csv --out renewed", "report {}"])
def test_single_records_take_no_torch(command: str, artifact_path: Path, tmp_path: Path):
    works(command, artifact_path, make_frame(400, seed=7), tmp_path)


@pytest.mark.parametrize(
    "command", ["recalibrate {} new.csv --out renewed", "report {}", "evaluate {} labelled.csv"]
)
def test_windows_take_no_torch(command: str, windows_path: Path, tmp_path: Path):
    works(command, windows_path, make_machines(600, seed=7, start=START + 1_000_000), tmp_path)
