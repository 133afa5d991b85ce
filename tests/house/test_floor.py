"""Serving and scoring work where torch, scikit-learn and pandas are not installed.

`make test` makes that environment, `.venv-floor`, beside the other.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import make_frame
from tests.live import serving
from vaewatch.scoring.scorer import Scorer

FLOOR = Path(__file__).parents[2] / ".venv-floor" / "bin"


def floor(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(FLOOR / str(words[0])), *map(str, words[1:])]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("package", ["torch", "sklearn", "pandas", "scipy", "onnx", "matplotlib"])
def test_the_floor_has_no_training_library(package: str):
    done = floor("python", "-c", f"import {package}")
    assert f"No module named '{package}'" in done.stderr


def test_the_floor_scores_a_file_like_the_house_that_trained(
    artifact_path: Path, scorer: Scorer, tmp_path: Path
):
    frame = make_frame(50, seed=11)
    frame.write_csv(tmp_path / "new.csv")
    done = floor(
        "vaewatch", "score", artifact_path, tmp_path / "new.csv", "--out", tmp_path / "out.csv"
    )
    assert done.returncode == 0, done.stderr
    got = pl.read_csv(tmp_path / "out.csv")["anomaly_score"].to_numpy()
    np.testing.assert_allclose(got, scorer.score_records(frame.to_dicts()).score, rtol=1e-5)


def test_the_floor_serves(artifact_path: Path, scorer: Scorer):
    records = make_frame(20, seed=12).drop("order").to_dicts()
    with serving(artifact_path, vaewatch=FLOOR / "vaewatch") as live:
        answer = live.post("/v1/score", json={"records": records}).json()["results"]
    got = [result["score"] for result in answer]
    np.testing.assert_allclose(got, scorer.score_records(records).score, rtol=1e-5)


def test_training_on_the_floor_says_what_to_install(tmp_path: Path):
    (tmp_path / "it.csv").write_text("a,b\n" + "1,2\n" * 100)
    done = floor("vaewatch", "train", tmp_path / "it.csv", "--out", tmp_path / "it")
    assert done.returncode == 2
    assert "pip install 'vaewatch[train]'" in done.stderr


def test_a_png_on_the_floor_says_what_to_install(tmp_path: Path, artifact_path: Path):
    make_frame(20).write_csv(tmp_path / "in.csv")
    asked = ("replay", artifact_path, tmp_path / "in.csv", "--time", "amount", "--plot")
    done = floor("vaewatch", *asked, tmp_path / "hours.png")
    assert done.returncode == 2
    assert done.stderr == "error: this command needs PIL: pip install 'vaewatch[png]'.\n"
    assert floor("vaewatch", *asked, tmp_path / "hours.svg").returncode == 0


def test_a_redis_on_the_floor_says_what_to_install(artifact_path: Path):
    done = floor("vaewatch", "serve", artifact_path, "--history", "redis://127.0.0.1")
    assert done.returncode == 2
    assert "takes the [redis] extra: pip install 'vaewatch[redis]'" in done.stderr
