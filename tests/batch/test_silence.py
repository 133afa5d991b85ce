"""Scoring sends nothing: the telemetry of ONNX Runtime, with its file at home, is off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = "import sys, vaewatch; vaewatch.load(sys.argv[1])"


def test_loading_an_artifact_leaves_no_trace_in_the_home_folder(
    artifact_path: Path, tmp_path: Path
):
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}  # no CI, which also silences it
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    subprocess.run([sys.executable, "-c", CODE, str(artifact_path)], env=env, check=True)
    assert list(tmp_path.rglob("*")) == []
