"""What a command can know to be wrong is refused before it reads records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import vaewatch
from tests.conftest import call, make_frame
from vaewatch.scoring.errors import SchemaError


@pytest.fixture
def new(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    make_frame(50).write_csv(path)
    return path


@pytest.mark.parametrize("command", ["evaluate", "recalibrate"])
def test_labels_that_are_not_there_are_refused(
    artifact_path: Path, new: Path, tmp_path: Path, command: str
):
    labelled = ["--labelled", new, "--out", tmp_path / "it"] if command == "recalibrate" else []
    done = call(command, artifact_path, new, *labelled, "--label", "cuntry")
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    assert "label column 'cuntry' must be in the input" in done.stderr
    assert "Did you mean 'country'?" in done.stderr


@pytest.mark.parametrize("option", ["--out", "--summary", "--metrics-file"])
def test_a_folder_in_the_place_of_an_output_is_refused_before_a_record_is_scored(
    artifact_path: Path, new: Path, tmp_path: Path, option: str
):
    (tmp_path / "folder").mkdir()
    out = [] if option == "--out" else ["--out", tmp_path / "out.csv"]
    done = call("score", artifact_path, new, *out, option, tmp_path / "folder")
    assert done.returncode == 1 and "could not be written: Is a directory." in done.stderr
    assert "--resume" not in done.stderr and not (tmp_path / "out.csv").exists()


def test_more_columns_than_an_artifact_may_have_are_refused(tmp_path: Path):
    frame = pl.DataFrame(np.zeros((2, 20_002)))
    with pytest.raises(SchemaError, match="at most 20,000 columns to learn, got 20,001"):
        vaewatch.train(frame, tmp_path / "it", ignore=("column_0",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fail-above", "nan"), "must be a share from 0 to 1, got nan"),
        (("--fail-above", "-0.1"), "must be a share from 0 to 1, got -0.1"),
        (("--fail-above", "5"), "must be a share from 0 to 1, got 5"),
        (("--prefix", "a\nb"), "must have no control characters"),
    ],
)
def test_an_option_that_could_never_work_is_refused_as_usage(
    artifact_path: Path, new: Path, options: tuple[str, str], message: str
):
    done = call("score", artifact_path, new, *options)
    assert done.returncode == 2 and message in done.stderr
