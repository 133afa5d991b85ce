"""What an event costs, of a category, a boolean or a missing value, beside what a number costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, make_frame
from vaewatch.scoring.budget.calibration import CROSS_FITTED
from vaewatch.scoring.files.frames import checked_table
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema
from vaewatch.training.train import train


def inspections(n: int, seed: int) -> pl.DataFrame:
    """Scores of 66 to 100, and names of shops, of which most are rare."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "shop": [f"shop {k}" for k in rng.zipf(1.3, n) % 600],
            "score": np.clip(np.round(rng.normal(94, 5, n)), 66, 100),
            "size": rng.geometric(0.05, n),
            "year": rng.integers(1999, 2007, n),
        }
    )


def test_an_event_costs_what_its_likelihood_does():
    frame = make_frame(500)
    schema = infer_schema(frame, TrainConfig(id="order"))
    vectorizer = fit_vectorizer(checked_table(schema, frame))
    events = [f for f in vectorizer.features if f.is_event]
    assert {f.column for f in events} == {"country", "express", "age"}
    for event in events:
        step = 1 / event.deviation
        assert step**2 / 2 == pytest.approx(-math.log(min(event.mean, 1 - event.mean)))


def test_many_rare_texts_hide_no_number_far_outside(tmp_path: Path):
    scorer = train(inspections(3000, 0), tmp_path / "it", alpha=0.02, report=False, **SMALL)
    new = inspections(1000, 1)
    assert scorer.score(new, explain=0).is_anomaly.mean() < 0.05
    for far in (0.0, 30.0, 150.0):
        odd = new.with_columns(score=pl.lit(far))
        assert scorer.score(odd, explain=0).is_anomaly.mean() > 0.99, far


def test_an_event_of_one_fit_record_calibrates_as_an_unseen_one(tmp_path: Path):
    frame = make_frame(300).with_columns(
        country=pl.when(pl.int_range(300) == 7).then(pl.lit("XX")).otherwise("country")
    )
    schema = infer_schema(frame, TrainConfig(id="order"))
    vectorizer = fit_vectorizer(table := checked_table(schema, frame))
    rules = Rules.of(vectorizer.features, 300)
    unseen = rules.unseen(vectorizer.transform(table).values, np.zeros(300, np.int64))
    assert np.flatnonzero(unseen).tolist() == [7] and unseen[7] == 1
    scores = np.array([1.0, 2.0, 900.0, 7000.0, 1.0])
    assert rules.of_unseen(scores[:2], lambda: np.zeros(2, np.int64)) == 302 / 2
    assert rules.of_unseen(scores, lambda: np.array([0, 0, 0, 1, 0])) == 898
    settings = {**SMALL, "id": "order", "report": False}
    scorer = train(frame, tmp_path / "it", alpha=0.005, **settings)
    calibration = scorer.artifact.calibration
    assert calibration.rule == CROSS_FITTED and calibration.scores.max() > 302 / 2
    other = scorer.score(frame.with_columns(country=pl.lit("YY"))[:50], explain=0)
    assert calibration.scores.max() > other.score.min()
