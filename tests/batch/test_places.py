"""Commands in odd places: a reader that goes away, a working folder that is gone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import VAEWATCH


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", line, "bash", str(VAEWATCH)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_card_whose_reader_has_gone_ends_like_any_other_output(
    artifact_path: Path, tmp_path: Path
):
    done = shell(f"$1 inspect {artifact_path} | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 141 and not done.stderr


@pytest.mark.parametrize(
    "words", ["score ../shop new.csv --out out.csv", "train new.csv --out it"]
)
def test_a_working_folder_that_was_deleted_is_said(tmp_path: Path, words: str):
    (tmp_path / "gone").mkdir()
    done = shell(f"rmdir ../gone; $1 {words}", tmp_path / "gone")
    assert done.returncode == 2
    assert done.stderr == "error: the working folder was deleted. Change to another one.\n"
