"""The words after a job, where the alarms alone do not tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vaewatch.batch.job import Counts, Job
from vaewatch.batch.summary import Summary
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.scorer import Scorer

SCORED = 3000


def summary(path: Path, over_one: int, alarms: int) -> Summary:
    """A job of 3,000 records, so many of which have a severity over 1."""
    severities = np.zeros(10, np.int64)
    severities[[0, 3]] = SCORED - over_one, over_one
    artifact = Scorer.load(path).artifact
    drift = artifact.drift.counts
    counts = Counts(SCORED, SCORED, alarms, severities=severities, drift=drift)
    return Summary(artifact, Job(("a.csv",), "o.csv"), counts, Counts(), 1.0)


def test_twice_the_high_scores_are_said_where_chance_explains_the_alarms(artifact_path: Path):
    found = summary(artifact_path, over_one=900, alarms=150)
    calibration = found.artifact.calibration
    wide = Expected.at(calibration, SCORED, 0.1)
    assert wide.high < 900 and calibration.alpha == 0.05
    said = (
        ": no more than chance explains, but 900 records have a severity over 1, "
        f"{wide.number} expected: these records are not like those that calibrated"
    )
    assert found.words == f"{Expected.at(calibration, SCORED).words(150)[:-30]}{said}"
    assert found.to_json()["expected"]["words"] == found.words


def test_nothing_is_added_where_severities_are_as_they_were_or_alpha_is_as_large(
    artifact_path: Path,
):
    found = summary(artifact_path, over_one=300, alarms=150)
    assert found.words.endswith("no more than chance explains")
    found = summary(artifact_path, over_one=900, alarms=300)
    found = replace(found, job=replace(found.job, alpha=0.1))
    assert "severity over 1" not in found.words
