"""What cannot work is refused before torch, scikit-learn and pandas are imported."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import vaewatch
from tests.conftest import SMALL, call, make_frame
from tests.without import run_without
from vaewatch.scoring.errors import SchemaError
from vaewatch.training.train import train

HEAVY = ("torch", "sklearn", "pandas", "scipy", "onnx", "matplotlib")


def refuse(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_without(HEAVY, *words, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_frame(50).write_csv(tmp_path / "normal.csv")
    (tmp_path / "there").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--members", "2"], 2, "setting 'members' must be at least 3, got 2"),
        (["--alpha", "1.5"], 2, "alpha must be at least"),
        (["--id", "oder"], 3, "id column 'oder' must be in the input.*Did you mean 'order'"),
        (["--label", "expres"], 3, "label column 'expres' must be .*Did you mean 'express'"),
        (["--ignore", "ghost"], 3, "ignored column 'ghost' must be in the input"),
        (["--kind", "ghost=numeric"], 3, "declared column 'ghost' must be in the input"),
        (["--label", "a\x1bb"], 2, "column's name must have no control characters, got 'a b'"),
        (["--rejects", "no/rejects.csv"], 1, "'no/rejects.csv' must be writable.*not a folder"),
        (["--out", "normal.csv/it"], 1, "'normal.csv/it' could not be written.*not a folder"),
        (["--out", "a\nb"], 2, "name must have no control characters, got 'a b'"),
        (["--out", "there"], 4, "'there' must not exist yet"),
        (["--from", "nowhere"], 4, "'nowhere' is not an artifact: it does not exist"),
        (["absent.csv"], 3, "'absent.csv' must be readable: No such file"),
    ],
)
def test_a_training_run_that_cannot_work_is_refused_before_its_imports(
    folder: Path, words: list[str], code: int, message: str
):
    done = refuse("train", "normal.csv", "--out", "new", *words, cwd=folder)
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "nowhere", "normal.csv"),
        ("recalibrate", "nowhere", "normal.csv", "--out", "new"),
        ("report", "nowhere", "--out", "page.html"),
        ("sample", "nowhere"),
    ],
)
def test_an_artifact_that_is_not_there_is_refused_before_the_imports(
    folder: Path, words: tuple[str, ...]
):
    done = refuse(*words, cwd=folder)
    assert done.returncode == 4, done.stderr
    assert "'nowhere' is not an artifact: it does not exist" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("evaluate", "it", "normal.csv", "--label", "expres"), 3, "Did you mean 'express'"),
        (("evaluate", "it", "normal.csv"), 3, "label column 'label' must be in the input"),
        (
            ("evaluate", "it", "normal.csv", "--label", "express", "--rejects", "no/r.csv"),
            1,
            "'no/r.csv' must be writable",
        ),
        (
            ("recalibrate", "it", "normal.csv", "--out", "new", "--rejects", "no/r.csv"),
            1,
            "'no/r.csv' must be writable",
        ),
        (("sample", "it", "--out", "no/s.csv"), 1, "'no/s.csv' must be writable"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_its_imports(
    folder: Path, artifact_path: Path, words: tuple[str, ...], code: int, message: str
):
    (folder / "it").symlink_to(artifact_path)
    done = refuse(*words, cwd=folder)
    assert done.returncode == code and message in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


def test_the_python_door_refuses_early_too(folder: Path):
    with pytest.raises(SchemaError, match="id column 'oder' must be in the input"):
        vaewatch.train(str(folder / "normal.csv"), folder / "new", id="oder")


def test_normals_may_lack_the_label(tmp_path: Path):
    settings = {**SMALL, "alpha": 0.05, "id": "order", "report": False}
    scorer = train(make_frame(300), tmp_path / "it", label="fraud", **settings)
    assert scorer.artifact.schema.label == "fraud"


def test_the_next_run_names_what_a_killed_one_left(folder: Path):
    make_frame(300).write_csv(folder / "normal.csv")
    (folder / ".it.checkpoint").write_bytes(os.urandom(100))
    words = ["--out", folder / "it", "--id", "order", "--alpha", "0.05", "--steps", "20"]
    words += ["--members", "4", "--served", "2", "--no-report"]
    done = call("train", folder / "normal.csv", *words)
    assert done.returncode == 0, done.stderr
    assert "note: a run that was killed left" in done.stderr and "--resume" in done.stderr
    assert not (folder / ".it.checkpoint").exists()


def test_a_name_that_steers_a_terminal_is_refused_early(folder: Path):
    (folder / "odd.csv").write_text("a,b\x1b[31m\n1,2\n3,4\n")
    done = refuse("train", "odd.csv", "--out", "new", cwd=folder)
    assert done.returncode == 3 and "must have no control characters, got 'b [31m'" in done.stderr
