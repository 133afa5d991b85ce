"""An artifact of an earlier release loads for ever, and every record scores as it did.

`artifacts/format-2` was written by the release that had four top-level packages, `format-3`, which
has a time and a segment, by the first that knew these, and `format-4`, which has a window, by the
first that knew that; `format-N.ndjson` holds records with the verdicts that it gave them. None is
ever made again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import call, make_frame
from vaewatch.scoring.scorer import Scorer

ARTIFACTS = Path(__file__).parent / "artifacts"
EVERY = sorted(path for path in ARTIFACTS.iterdir() if path.is_dir())
WINDOWED = [ARTIFACTS / "format-4"]
OF_RECORDS = [path for path in EVERY if path not in WINDOWED]


def numbers(lines: list[dict[str, Any]], key: str) -> list[float]:
    """Return the numbers of lines; NaN of a record that was not judged."""
    return [math.nan if line[key] is None else line[key] for line in lines]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.name)
def test_it_scores_as_it_did(path: Path):
    lines = path.with_suffix(".ndjson").read_text().splitlines()
    before = [json.loads(line) for line in lines]
    verdicts = Scorer.load(path).score([line["record"] for line in before])
    np.testing.assert_allclose(verdicts.score, numbers(before, "score"), rtol=1e-5)
    np.testing.assert_allclose(verdicts.p_value, numbers(before, "p_value"), rtol=1e-12)
    assert verdicts.history == (
        [line["history"] for line in before] if "history" in before[0] else None
    )
    assert verdicts.is_anomaly.tolist() == [line["is_anomaly"] for line in before]
    for verdict, line in zip(verdicts, before, strict=True):
        judged_by = verdict.segment, verdict.calibration
        assert judged_by == (line.get("segment"), line.get("calibration"))
    # which columns they name is the business of each release
    explained = [bool(reasons) for reasons in verdicts.reasons]
    assert explained == [bool(line["reasons"]) for line in before]


@pytest.mark.parametrize("path", WINDOWED, ids=lambda path: path.name)
def test_commands_take_windows(path: Path, tmp_path: Path):
    lines = path.with_suffix(".ndjson").read_text().splitlines()
    new = tmp_path / "new.ndjson"
    new.write_text("".join(json.dumps(json.loads(line)["record"]) + "\n" for line in lines))
    for words in (("inspect", path, "--verify"), ("score", path, new, "--quiet")):
        done = call(*words)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", OF_RECORDS, ids=lambda path: path.name)
def test_every_command_takes_it(path: Path, tmp_path: Path):
    new = tmp_path / "new.csv"
    frame = make_frame(100, seed=3)
    at = [f"2026-04-{1 + i % 28:02}T{8 + i % 9:02}:30" for i in range(len(frame))]
    frame.with_columns(pl.Series("created_at", at)).write_csv(new)
    for words in (
        ("inspect", path, "--verify"),
        ("score", path, new, "--quiet"),
        ("sample", path),
        ("report", path, "--out", tmp_path / "report.html", "--quiet"),
        ("recalibrate", path, new, "--out", tmp_path / "newer"),
    ):
        done = call(*words)
        assert done.returncode == 0, done.stderr
