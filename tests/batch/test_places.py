"""Commands whose reader goes away."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import VAEWATCH


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", line, "bash", str(VAEWATCH)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_card_whose_reader_has_gone_ends_like_any_other_output(
    artifact_path: Path, tmp_path: Path
):
    done = shell(f"$1 inspect {artifact_path} | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 141 and not done.stderr
