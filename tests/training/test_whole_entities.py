"""Records of patients: whole ones are held out, so that alpha holds for those that come later."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import call
from vaewatch import VAEDetector, load
from vaewatch.scoring.budget.calibration import SPLIT, block_law, records_needed
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.stream.martingale import EVIDENCE, Exchangeability
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.calibration.worth import calibrate_entities
from vaewatch.training.config import TrainConfig
from vaewatch.training.split.entities import in_a_row, split_by_entity

QUICK = ("--steps", 200, "--no-report")
WHOLE = ("--entity", "patient", "--calibrate", "entities", "--alpha", 0.1)


def visits(patients: range, seed: int, each: int = 12) -> pl.DataFrame:
    """Return visits of patients, whose usual values differ as much as those of their visits."""
    rng = np.random.default_rng(seed)
    usual = np.repeat(rng.normal(size=(len(patients), 5)), each, axis=0)
    values = usual + 0.25 * rng.normal(size=usual.shape)
    names = np.repeat([f"P{i}" for i in patients], each)
    return pl.DataFrame({"patient": names, **{f"lab{i}": values[:, i].round(2) for i in range(5)}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of visits, one of other patients, and the artifact of whole patients."""
    made = tmp_path_factory.mktemp("patients")
    visits(range(80), 0).sample(fraction=1.0, shuffle=True, seed=1).write_csv(made / "in.csv")
    visits(range(80, 480), 1).write_csv(made / "others.csv")
    done = call("train", made / "in.csv", "--out", made / "any", *WHOLE, *QUICK)
    assert done.returncode == 0, done.stderr
    (made / "said.txt").write_text(done.stdout)
    return made


def rate(art: Path, path: Path) -> float:
    out = path.with_name(f"{art.name}-scored.csv")
    assert call("score", art, path, "--out", out, "--quiet").returncode == 0
    return float(pl.read_csv(out)["is_anomaly"].mean() or 0)


def test_the_budget_holds_for_patients_that_the_fit_never_saw(folder: Path):
    ignored = ("--ignore", "patient", "--alpha", 0.1, *QUICK)
    done = call("train", folder / "in.csv", "--out", folder / "same", *ignored)
    assert done.returncode == 0, done.stderr
    same, whole = (rate(folder / name, folder / "others.csv") for name in ("same", "any"))
    low, high = load(folder / "any").artifact.manifest.calibration.rate_interval_95
    assert same > 0.2 and low <= whole <= high < same


def test_train_and_inspect_say_what_calibrates(folder: Path):
    whole = "for 240 of 20 entities that the fit never saw, worth"
    assert whole in (folder / "said.txt").read_text()
    assert whole in " ".join(call("inspect", folder / "any").stdout.split())
    summary = json.loads((folder / "any" / "manifest.json").read_text())["calibration"]
    entities = summary["entities"]
    assert (entities["count"], entities["records"]) == (20, 240)
    assert summary["n"] == max(entities["blocks"], records_needed(0.1)) < 240
    assert "entities that the fit never saw" in summary["rule_means"]
    assert "New entities are exchangeable" in summary["assumes"]


def test_what_chance_allows_is_that_of_entities(folder: Path):
    calibration = load(folder / "any").artifact.calibration
    assert calibration.entities is not None
    assert calibration.rate_law() == block_law(calibration, 0.1, calibration.entities.blocks)
    alone = calibrate(calibration.scores, 0.1, SPLIT)
    one, whole = (Expected.at(each, 2_000) for each in (alone, calibration))
    assert whole.low < one.low and whole.high > one.high


def test_a_record_need_not_name_its_patient(folder: Path):
    scorer = load(folder / "any")
    with_name, without = {"patient": "P7"}, {}
    values = {"lab0": 0.1, "lab1": -0.4, "lab2": 0.3, "lab3": 0, "lab4": 1}
    one, two = scorer.score([{**with_name, **values}, {**without, **values}])
    assert one.score == two.score and "patient" not in scorer.artifact.schema.inputs


def test_a_recalibration_on_other_patients_counts_them_as_the_fit_did(folder: Path):
    again = ("recalibrate", folder / "any", folder / "others.csv", "--accept-lost-detection")
    done = call(*again, "--out", folder / "again")
    assert done.returncode == 0 and not done.stderr
    assert "for 4,800 of 400 entities that the fit never saw, worth" in done.stdout
    pl.read_csv(folder / "others.csv").drop("patient").write_csv(folder / "unnamed.csv")
    again = ("recalibrate", folder / "any", folder / "unnamed.csv", "--accept-lost-detection")
    done = call(*again, "--out", folder / "alone")
    assert done.returncode == 0 and "asked for 0.1, 4,800 new calibration records:" in done.stdout
    assert "the records lack column 'patient', so that each counts as of another" in done.stderr


def test_a_recalibration_on_one_patient_is_refused(folder: Path):
    visits(range(900, 901), 3, each=40).write_csv(folder / "one.csv")
    done = call("recalibrate", folder / "any", folder / "one.csv", "--out", folder / "of-one")
    assert done.returncode == 3 and not (folder / "of-one").exists()
    assert (
        "the records must be of 2 entities at least, got 1 in column 'patient': one says nothing "
        "of how others differ from it. Give records of more" in done.stderr
    )


def test_a_fit_that_goes_on_holds_out_patients_that_the_first_never_saw(folder: Path):
    both = (folder / "in.csv", folder / "others.csv")
    words = ("--from", folder / "any", "--steps", 60, "--no-report")
    done = call("train", *both, "--out", folder / "more", *words)
    assert done.returncode == 0, done.stderr
    entities = load(folder / "more").artifact.calibration.entities
    # a quarter of those 420 that the first fit did not see, or an eighth of the records
    assert entities is not None and 30 <= entities.count <= 105


def test_the_estimator_takes_them_too(folder: Path):
    frame = pl.read_csv(folder / "in.csv")
    detector = VAEDetector(alpha=0.1, entity="patient", calibrate="entities", steps=100)
    entities = detector.fit(frame).artifact_.calibration.entities
    assert entities is not None and entities.count == 20
    assert "patient" not in detector.artifact_.schema.inputs


def test_a_record_without_a_name_is_refused_or_set_aside(tmp_path: Path):
    frame = visits(range(40), 0)
    names = pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise("patient").alias("patient")
    frame.with_columns(names).write_csv(tmp_path / "in.csv")
    words = ("train", tmp_path / "in.csv", "--out", tmp_path / "out", *WHOLE, *QUICK)
    done = call(*words)
    says = "column 'patient' must name the entity of each record, in at most 1,000 characters"
    assert done.returncode == 3 and f"{says}, but 1 of 480 records break that" in done.stderr
    assert "line 6" in done.stderr and not (tmp_path / "out").exists()
    done = call(*words, "--rejects", tmp_path / "bad.csv")
    assert done.returncode == 0, done.stderr
    assert len(pl.read_csv(tmp_path / "bad.csv")) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--entity", "ward", "--calibrate", "entities"),
            "--calibrate entities takes at least 4 entities, got 2 in column 'ward'",
        ),
        (("--calibrate", "entities"), "setting 'calibrate' can be entities only where records be"),
        (
            ("--entity", "patient", "--calibrate", "entities", "--segment", "ward"),
            "setting 'segment' cannot be used where whole entities calibrate",
        ),
        (
            ("--entity", "patient", "--calibrate", "entities", "--alpha", "0.002"),
            "takes at least 500 records to calibrate at alpha 0.002, got 240 of 20 entities, half",
        ),
        (
            ("--entity", "patent", "--calibrate", "entities"),
            "entity column 'patent' must be in the input, got patient, lab0, lab1, lab2, lab3, "
            "lab4, ward. Did you mean 'patient'?",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, words: tuple[str, ...], says: str):
    wards = pl.Series("ward", ["north", "south"] * 240)
    visits(range(40), 0).with_columns(wards).write_csv(tmp_path / "in.csv")
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "out", *QUICK, *words)
    assert done.returncode in (2, 3) and says in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_few_patients_are_said_to_be_too_few_for_alpha(tmp_path: Path):
    visits(range(12), 0, each=60).write_csv(tmp_path / "in.csv")
    words = ("--entity", "patient", "--calibrate", "entities", "--alpha", "0.02", *QUICK)
    done = call("train", tmp_path / "in.csv", "--out", tmp_path / "out", *words)
    assert done.returncode == 0
    assert re.search(
        r"the records of an entity are so alike that these records are worth \d+ independent "
        r"ones?, and a rate of 0.02 takes 49: up to 0.\d+ of normal records of new entities may "
        "alarm. Give more entities, or ask for a larger alpha.",
        done.stderr,
    )
    calibration = load(tmp_path / "out").artifact.calibration
    assert calibration.n == 49  # so that what scores above all of them alarms


def test_a_change_of_the_traffic_is_seen_by_as_many_scores_as_entities_are_worth():
    own = np.random.default_rng(0).exponential(size=90)
    names = np.repeat(np.arange(90), 20).astype(str).tolist()
    whole = calibrate_entities(np.repeat(own, 20), names, 0.05)
    assert whole.alike > 15
    new = np.random.default_rng(1)
    as_before, changed = (
        Exchangeability.of(whole, generator=np.random.default_rng(2), spacing=20) for _ in range(2)
    )
    assert as_before.update(new.exponential(size=300)) < 1
    assert changed.update(2 + new.exponential(size=300)) > EVIDENCE


def test_entities_of_one_record_each_calibrate_as_records_do():
    scores = np.random.default_rng(0).exponential(size=400)
    whole = calibrate_entities(scores, [str(i) for i in range(400)], 0.05)
    assert whole.entities is not None and whole.entities.blocks == pytest.approx(400, abs=12)
    assert whole.threshold(0.05) == pytest.approx(np.quantile(scores, 0.95), rel=0.1)


def test_entities_whose_records_are_all_the_same_count_as_one_each():
    own = np.random.default_rng(0).exponential(size=60)
    names = np.repeat(np.arange(60), 20).astype(str).tolist()
    whole = calibrate_entities(np.repeat(own, 20), names, 0.05)
    assert whole.entities is not None and 40 <= whole.entities.blocks <= 60
    assert set(whole.scores) <= set(own) and whole.scores[-1] == own.max()


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(1, 12), min_size=4, max_size=30),
    alpha=st.sampled_from((0.02, 0.05, 0.2)),
    seed=st.integers(0, 1000),
)
def test_the_highest_score_of_each_part_is_kept(counts: list[int], alpha: float, seed: int):
    entities = np.repeat(np.arange(len(counts)), counts)
    scores = np.random.default_rng(seed).normal(size=len(entities)) + entities % 3
    if len(scores) < records_needed(alpha):
        return
    kept = calibrate_entities(scores, entities.astype(str).tolist(), alpha)
    assert kept.entities is not None and kept.entities.count == len(counts)
    ascending = np.sort(scores)
    n, size = len(scores), kept.n
    assert size == max(min(kept.entities.blocks, n), records_needed(alpha))
    for i, score in enumerate(kept.scores.tolist(), 1):
        # as few as hold this share of all scores
        assert np.searchsorted(ascending, score, side="right") * size >= i * n
        assert np.searchsorted(ascending, score, side="left") * size < i * n
    assert np.count_nonzero(scores > (kept.threshold(alpha) or 0)) <= alpha * n


@settings(deadline=None, max_examples=80)
@given(
    counts=st.lists(st.integers(1, 30), min_size=4, max_size=60),
    alpha=st.sampled_from((0.05, 0.1, 0.3)),
    seed=st.integers(0, 100),
    seen=st.integers(0, 20),
)
def test_a_split_by_entity_parts_none(counts: list[int], alpha: float, seed: int, seen: int):
    entities = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    config = TrainConfig(alpha=alpha, seed=seed, entity="e", calibrate="entities")
    known = entities < seen if seen else None
    try:
        split = split_by_entity(entities, 3, config, known)
    except CalibrationError as error:
        assert "--calibrate entities takes at least" in str(error)
        return
    held_out = set(entities[split.held_out].tolist())
    assert not held_out & set(entities[split.fit].tolist())
    assert sorted([*split.fit, *split.held_out]) == list(range(len(entities)))
    assert not held_out & set(range(seen))
    assert 2 <= len(held_out) <= (len(counts) - seen) // 2
    assert len(split.held_out) >= records_needed(alpha)
    again = split_by_entity(entities, 3, config, known)
    assert np.array_equal(again.held_out, split.held_out)


def test_folds_keep_what_comes_of_one_entity_in_a_row():
    entities = np.random.default_rng(0).integers(0, 9, 200)
    place = in_a_row(entities, seed=0)
    in_order = entities[np.argsort(place)]
    assert sorted(place) == list(range(200))
    assert np.count_nonzero(np.diff(in_order)) == 8
