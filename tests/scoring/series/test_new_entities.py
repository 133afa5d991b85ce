"""Entities that an artifact does not know: who they are, and what judges them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet import ALPHA, is_new, later
from tests.scoring.series.test_hostile_windows import edit_arrays
from tests.scoring.test_hostile_artifacts import refused, sign
from vaewatch.scoring.artifact import CALIBRATION, ENTITIES, OF_NEW
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.entity import KnownEntities
from vaewatch.scoring.series.settling import on_one_scale
from vaewatch.scoring.table import table_of

NAMES = st.lists(st.text(max_size=5), max_size=20)


@given(NAMES, NAMES, NAMES)
def test_entities_are_known_by_their_names(first: list[str], second: list[str], asked: list[str]):
    known = KnownEntities.of(first) | KnownEntities.of(second)
    assert known.lacks(asked).tolist() == [name not in {*first, *second} for name in asked]
    assert known.hashes.tolist() == KnownEntities.of(first + second).hashes.tolist()


def share(calibration: Calibration, score: float) -> float:
    """A p-value by definition: the share of scores that are at least as high, with its own."""
    return (1 + sum(own >= score for own in calibration.scores)) / (calibration.n + 1)


def test_p_values_are_the_larger_of_both_calibrations(fleet_scorer: Scorer):
    frame, artifact = later(), fleet_scorer.artifact
    verdicts, new = fleet_scorer.score(frame, explain=0), is_new(frame)
    assert artifact.of_new is not None
    words, judged = np.array(verdicts.history), verdicts.judged
    assert set(words[~judged]) == {"warming_up"}
    assert set(words[judged & ~new]) <= {"full", "lasting"}
    assert set(words[judged & new]) <= {"new_entity", "lasting"}
    for row in np.flatnonzero(judged & (words != "lasting"))[::7].tolist():
        score = float(verdicts.score[row])
        wanted = share(artifact.calibration, score)
        if new[row]:
            wanted = max(wanted, share(artifact.of_new, score))
        assert verdicts.p_value[row] == pytest.approx(wanted, abs=1e-3)  # near scores may tie
        assert verdicts.severity[row] == pytest.approx(-np.log10(verdicts.p_value[row]))
        assert verdicts.is_anomaly[row] == (verdicts.p_value[row] <= ALPHA)


def test_only_anomalies_have_reasons(fleet_scorer: Scorer):
    verdicts = fleet_scorer.score(later())
    explained = np.array([bool(reasons) for reasons in verdicts.reasons])
    assert explained.sum() > 50 and verdicts.is_anomaly[explained].all()


def test_without_a_calibration_of_their_own_they_are_judged_as_others_and_said_to_be_new(
    fleet_path: Path, tmp_path: Path, fleet_scorer: Scorer
):
    plain = replace(fleet_scorer.artifact, of_new=None)
    frame = later()
    verdicts = Scorer(plain).score(frame)
    words = np.array(verdicts.history)
    assert (words == "new_entity").any() and not (words == "new_entity")[~is_new(frame)].any()
    usual = ~np.isin(words, ["lasting", "warming_up"])
    wanted = plain.calibration.p_values(verdicts.score[usual])
    np.testing.assert_array_equal(verdicts.p_value[usual], wanted)
    older = Scorer(replace(plain, entities=None)).score(frame)
    assert "new_entity" not in (older.history or ())
    np.testing.assert_array_equal(older.p_value, verdicts.p_value)


def test_their_scores_are_brought_to_the_scale_of_the_others(fleet_scorer: Scorer):
    """So that an incident of theirs is as rare as its p-value says, not as its score would."""
    frame, artifact = later(), fleet_scorer.artifact
    verdicts, new = fleet_scorer.score(frame), is_new(frame)
    scaled = on_one_scale(artifact, table_of(artifact.schema, frame.to_dicts()), verdicts)
    own = verdicts.judged & new
    np.testing.assert_array_equal(scaled.score[~own], verdicts.score[~own])
    assert (scaled.score[own] <= verdicts.score[own]).all()
    assert (scaled.score[own] < verdicts.score[own]).mean() > 0.5
    own[own] &= (scaled.score[own] < verdicts.score[own]) & (verdicts.p_value[own] < 0.5)
    p_values = artifact.calibration.p_values(scaled.score[own])
    step = 5 / (artifact.calibration.n + 1)
    assert (p_values >= verdicts.p_value[own] - 1e-12).all()
    assert (p_values <= verdicts.p_value[own] + step).all()  # near scores tie


@given(
    st.lists(st.integers(0, 30), min_size=9, max_size=60), st.lists(st.integers(0, 40), min_size=1)
)
def test_a_p_value_has_the_highest_score_that_gets_no_smaller_one(
    own: list[int], asked: list[int]
):
    calibration = Calibration(np.sort(np.array(own, float)), 0.1, SPLIT)
    p_values = calibration.p_values(np.array(asked, float))
    for p, score in zip(p_values, calibration.score_of(p_values), strict=True):
        fitting = [s for s in own if calibration.p_values(np.array([float(s)]))[0] >= p - 1e-12]
        assert score == (max(fitting) if fitting else max(own))


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        (ENTITIES, lambda a: a.astype(np.int64), "of 32 bits and ascend"),
        (ENTITIES, lambda a: a[::-1], "of 32 bits and ascend"),
        (ENTITIES, lambda a: a[None], "of 32 bits and ascend"),
        (ENTITIES, lambda a: np.repeat(a, 2), "of 32 bits and ascend"),
        (OF_NEW, lambda a: a[:-1], "the calibration must be [0-9,]+ scores"),
        (OF_NEW, lambda a: a[::-1], "must ascend"),
        (OF_NEW, lambda a: np.full_like(a, np.nan), "must be finite"),
    ],
)
def test_arrays_that_training_does_not_make_are_refused(
    fleet_path: Path, tmp_path: Path, name: str, change: Callable[[Any], Any], match: str
):
    copy = Path(shutil.copytree(fleet_path, tmp_path / "copy"))
    edit_arrays(copy, CALIBRATION, lambda arrays: arrays.update({name: change(arrays[name])}))
    refused(copy, match)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (OF_NEW, "the calibration must be [0-9,]+ scores, at least one"),
        (ENTITIES, "a calibration of new entities takes hashes of those that are known"),
    ],
)
def test_a_calibration_that_is_promised_must_be_there(
    fleet_path: Path, tmp_path: Path, name: str, match: str
):
    copy = Path(shutil.copytree(fleet_path, tmp_path / "copy"))
    edit_arrays(copy, CALIBRATION, lambda arrays: arrays.pop(name))
    refused(copy, match)


def test_names_take_a_column_of_entities(fleet_path: Path, tmp_path: Path):
    copy = Path(shutil.copytree(fleet_path, tmp_path / "copy"))
    sign(copy, lambda manifest: manifest["schema"].pop("entity"))
    refused(copy, "hashes of entities take a column of them")
