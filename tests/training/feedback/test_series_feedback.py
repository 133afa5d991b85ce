"""Feedback on an artifact with a window: its confirmed incidents are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.pumps import pumps, trained
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.feedback.evaluate import evaluate_marked
from vaewatch.training.feedback.marks import Mark, read_marks
from vaewatch.training.recalibrate import Recalibration, recalibrate

BEGIN = 1_767_225_600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("series")


@pytest.fixture(scope="module")
def marks(folder: Path) -> Path:
    """Machine m1 failed from its 200th record to its 219th, a second is told as a false alarm."""
    first, last = (
        f"{pl.select(pl.from_epoch(pl.lit(BEGIN + 10 * i))).item().isoformat()}Z"
        for i in (200, 219)
    )
    (folder / "marks.csv").write_text(
        f"label,incident,group,first,last\nconfirmed,a,m1,{first},{last}\n"
        f"false_alarm,b,m2,{first},{last}\n"
    )
    return folder / "marks.csv"


def without(frame: pl.DataFrame) -> pl.DataFrame:
    at = pl.col("ts").str.to_datetime().dt.epoch("s")
    failed = at.is_between(BEGIN + 2000, BEGIN + 2190) & (pl.col("machine") == "m1")
    return frame.filter(~failed)


def test_the_records_of_its_entity_and_span_are_not_fitted_to(folder: Path, marks: Path):
    new = trained(folder, frame=pumps(300), name="heeding", gap="15s", feedback=marks)
    want = trained(folder, frame=without(pumps(300)), name="want", gap="15s")
    manifest = read_manifest(new)
    assert manifest.version == read_manifest(want).version
    assert manifest.feedback is not None and manifest.series is not None
    assert manifest.feedback.left_out == 20 and manifest.feedback.gain is None
    assert manifest.series.gaps == 1  # the window begins anew after them


def test_nor_do_they_calibrate(folder: Path, marks: Path):
    old = trained(folder, frame=pumps(300, seed=5, first=1000), name="old")
    for name, frame, given in (
        ("renewed", pumps(300), read_marks(marks)),
        ("plain", without(pumps(300)), None),
    ):
        recalibrate(old, frame, folder / name, Recalibration(marks=given))
    renewed, plain = (Scorer.load(folder / name).artifact for name in ("renewed", "plain"))
    np.testing.assert_array_equal(renewed.calibration.scores, plain.calibration.scores)
    assert renewed.manifest.feedback is not None and plain.manifest.feedback is None


def test_an_incident_is_found_if_a_record_of_its_entity_alarms(folder: Path, marks: Path):
    scorer = Scorer.load(trained(folder, frame=pumps(300, seed=5, first=1000), name="judge"))
    at = pl.col("ts").str.to_datetime().dt.epoch("s")
    failing = at.is_between(BEGIN + 2050, BEGIN + 2100) & (pl.col("machine") == "m1")
    pressure = pl.when(failing).then(9.0).otherwise(pl.col("pressure"))
    frame = pumps(300).with_columns(pressure=pressure)
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    for records in (frame, shuffled):
        found = evaluate_marked(scorer, records, read_marks(marks))
        assert (found.confirmed.marks, found.confirmed.found, found.confirmed.alarming) == (
            1,
            1,
            1,
        )
        assert found.confirmed.records == found.false_alarms.records == 20
        assert found.confirmed.alarms >= 6
    away = Mark(Label.CONFIRMED, "c", group="m9", first=0, last=1)
    assert evaluate_marked(scorer, frame, [away]).confirmed.share is None
