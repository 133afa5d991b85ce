"""Entities that the fit never saw: a calibration of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from tests.conftest import call
from tests.fleet import ALPHA, FITTED, OTHERS, SHORT, fleet, is_new, later, trained_fleet
from tests.training.series.test_windows import windows_of
from vaewatch.scoring.budget.calibration import CROSS_FITTED, SPLIT, block_law
from vaewatch.scoring.disk.reading import read_artifact, read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.calibration.worth import entity_blocks
from vaewatch.training.config import TrainConfig
from vaewatch.training.recalibrate import Recalibration, recalibrate
from vaewatch.training.series.fit import fit_windows
from vaewatch.training.vae.threads import computing_on


@pytest.mark.parametrize(("seed", "entities"), [(0, 4), (1, 9), (2, 14)])
def test_each_entity_is_in_one_fold_and_folds_have_as_many(seed: int, entities: int):
    windows = windows_of(5, seed, entities, n=900)
    owners = np.random.default_rng(seed).integers(0, entities, len(windows.runs))
    windows = replace(windows, owners=owners)
    folds = windows.folds_of_entities(6, seed)
    fold_of = {}
    for run, fold in zip(windows.run_of.tolist(), folds.tolist(), strict=True):
        assert fold_of.setdefault(owners[run], fold) == fold
    counts = np.bincount(list(fold_of.values()), minlength=6)
    assert counts.max() - counts.min() <= 1
    assert not windows.beside(folds, 6).any()


@pytest.mark.parametrize("loud", [3, 30])
def test_entities_that_alarm_always_or_never_are_worth_one_record_each(loud: int):
    each, count = 40, 200
    scores = np.repeat(np.arange(count) >= count - loud, each) * 1.0
    scores += 1e-3 * np.random.default_rng(0).random(len(scores))
    names = np.repeat([f"m{i}" for i in range(count)], each).tolist()
    calibration = calibrate(scores, loud / count, CROSS_FITTED)
    assert entity_blocks(calibration, scores, names) == pytest.approx(count - 1, abs=4)


def test_entities_that_are_alike_are_worth_about_all_their_records():
    scores = np.random.default_rng(0).random(40_000)
    names = np.repeat([f"m{i}" for i in range(1000)], 40).tolist()
    worth = entity_blocks(calibrate(scores, 0.1, CROSS_FITTED), scores, names)
    assert worth == pytest.approx(40_000, rel=0.2)


def test_what_judges_saw_what_it_may():
    """A new entity by what saw none of it; another one by what saw it, at other times."""
    rng, size, entities = np.random.default_rng(0), 5, 9
    found = windows_of(size, 0, entities, n=1500)
    owners = rng.integers(0, entities, len(found.runs))
    windows = replace(found, owners=owners)
    config = TrainConfig(calibrate="entities", steps=2, served=2, entity="m", time="t")
    with computing_on(1):
        fit = fit_windows(windows, config)
    assert fit.of_new is not None
    owner, seen = owners[windows.run_of], fit.fitted.folds.seen()
    assert len(fit.of_new.windows) == len(windows)
    for fold, judge in enumerate(fit.fitted.folds.judges.tolist()):
        known = {int(owner[k]) for k in seen[judge]}
        of_new = fit.of_new.windows[fit.of_new.folds == fold]
        assert not known & set(owner[of_new].tolist())
        judged = fit.judged.windows[fit.judged.folds == fold]
        assert set(owner[judged].tolist()) <= known
        run, others = windows.run_of, seen[judge]
        near = np.abs(judged[:, None] - others) < size
        assert not (near & (run[judged][:, None] == run[others])).any()


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_the_interval_knows_how_few_entities_there_are(count: int):
    """By simulation: entities whose levels differ as their records do, and the law of others."""
    inside, each = 0, 600
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores = (rng.normal(size=(count, 1)) + rng.normal(size=(count, each))).ravel()
        names = np.repeat([f"m{i}" for i in range(count)], each).tolist()
        calibration = calibrate(scores, 0.05, CROSS_FITTED)
        threshold = calibration.threshold(0.05)
        assert threshold is not None
        blocks = min(entity_blocks(calibration, scores, names), len(scores))
        true = NormalDist(sigma=2**0.5).cdf(-threshold)
        inside += true <= block_law(calibration, 0.05, blocks).interval()[1]
    assert inside >= 85


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_fleet(tmp_path_factory.mktemp("fleets") / "fleet", steps=200)


def rates(artifact: Path) -> tuple[float, float]:
    """The shares of judged records that alarm: of machines of the fit, and of others."""
    frame = later()
    verdicts, new = Scorer.load(artifact).score(frame), is_new(frame)
    alarms = [verdicts.is_anomaly[verdicts.judged & kind] for kind in (~new, new)]
    return float(alarms[0].mean()), float(alarms[1].mean())


def test_the_budget_holds_for_those_that_the_fit_saw_and_for_others(path: Path, tmp_path: Path):
    plain = trained_fleet(tmp_path / "plain", calibrate="all", steps=200)
    (seen, new), (usual, unforeseen) = rates(path), rates(plain)
    more = Scorer.load(path).score(fleet(range(560, 650), 60, seed=1, first=300))
    new = (new + 3 * float(more.is_anomaly[more.judged].mean())) / 4  # of 120 machines
    assert new < 1.5 * ALPHA and unforeseen > 2 * ALPHA  # or nothing is shown
    assert seen == pytest.approx(usual, abs=ALPHA / 2) and seen < 1.5 * ALPHA
    manifest = read_manifest(path)
    assert manifest.new_entities is not None and read_manifest(plain).new_entities is None
    low, high = manifest.new_entities.rate_interval_95
    assert low <= new <= high and manifest.outlook is not None


def test_the_command_says_whose_budget_it_is(tmp_path: Path):
    fleet(FITTED, 60, seed=0).write_csv(tmp_path / "fit.csv")
    out = tmp_path / "fleet"
    words = ("--time", "ts", "--entity", "machine", "--calibrate", "entities", *SHORT)
    done = call("train", tmp_path / "fit.csv", "--out", out, *words, "--alpha", "0.01")
    assert done.returncode == 0, done.stderr
    assert "of normal records of new entities may alarm. Give more entities, or" in done.stderr
    manifest = read_manifest(out)
    series, summary = manifest.series, manifest.new_entities
    assert series is not None and summary is not None and series.blocks_of_new is not None
    assert series.blocks_of_new < series.blocks and summary.n > manifest.calibration.n
    says = (
        f"new entities {summary.n:,} calibration records (cross-fitted, by whole entities), worth "
        f"{series.blocks_of_new} independent blocks: their true rate lies between 0 and "
    )
    for text in (done.stdout, call("inspect", out).stdout):
        assert says in " ".join(text.split())
    assert "saw none of its records" in summary.rule_means
    assert "New entities are exchangeable" in summary.assumes
    assert "Each block of time was scored" in manifest.calibration.rule_means


def test_new_entities_are_recalibrated_on_their_own_records(path: Path, tmp_path: Path):
    """By hand: the scores of either kind of machine calibrate for their kind."""
    frame, scorer = later(seed=5, first=600), Scorer.load(path)
    verdicts, new = scorer.score(frame), is_new(frame)
    recalibrate(path, frame, tmp_path / "newer", Recalibration(alpha=0.05))
    newer = read_artifact(tmp_path / "newer")
    old = scorer.artifact
    assert old.entities is not None and newer.entities is not None and newer.of_new is not None
    assert newer.entities.hashes.tolist() == old.entities.hashes.tolist()
    for calibration, kind in ((newer.calibration, ~new), (newer.of_new, new)):
        own = np.sort(verdicts.score[verdicts.judged & kind])
        assert calibration.scores.tolist() == own.tolist()
        assert (calibration.alpha, calibration.rule) == (0.05, SPLIT)
    summary = newer.manifest.new_entities
    assert summary is not None and summary.rate_interval_95[0] == 0
    assert "The records are of entities that the fit never saw" in summary.rule_means
    assert "an anomaly by the calibration of the others, too" in summary.rule_means
    assert newer.manifest.calibration.rate_interval_95[0] > 0


def test_without_new_entities_their_calibration_stays(path: Path, tmp_path: Path):
    frame = fleet(FITTED, 60, seed=5, first=600)
    frame = pl.concat([frame, fleet(range(500, 501), 60, seed=5, first=600)])
    recalibrate(path, frame, tmp_path / "newer", Recalibration(alpha=0.05))
    old, newer = read_artifact(path), read_artifact(tmp_path / "newer")
    assert old.of_new is not None and newer.of_new is not None
    assert newer.of_new.scores.tolist() == old.of_new.scores.tolist()
    before, after = old.manifest.new_entities, newer.manifest.new_entities
    assert before is not None and after is not None
    assert after.rate_interval_95[1] < before.rate_interval_95[1]  # of half the alpha


def test_new_entities_alone_do_not_calibrate_for_those_of_the_fit(path: Path, tmp_path: Path):
    fleet(OTHERS, 60, seed=5).write_csv(tmp_path / "others.csv")
    done = call("recalibrate", path, tmp_path / "others.csv", "--out", tmp_path / "newer")
    assert done.returncode == 3, done.stderr
    said = " ".join(done.stderr.split())
    assert (
        "of 1,800 records 0 have a full window of 8 new ones of entities that the fit saw" in said
    )
    assert not (tmp_path / "newer").exists()


def test_where_they_have_no_calibration_they_are_known_once_they_calibrate(
    plain_fleet_path: Path, tmp_path: Path
):
    frame = later(seed=5, first=600)
    before = Scorer.load(plain_fleet_path).score(frame)
    recalibrate(plain_fleet_path, frame, tmp_path / "newer", Recalibration(alpha=ALPHA))
    after = Scorer.load(tmp_path / "newer").score(frame)
    words = np.array(before.history)
    assert set(words[before.judged & is_new(frame)]) <= {"new_entity", "lasting"}
    assert "new_entity" in words and "new_entity" not in (after.history or ())


def test_the_report_says_what_was_left_out(tmp_path: Path):
    out = trained_fleet(tmp_path / "fleet", report=True)
    page = " ".join((out / "report.html").read_text().split())
    assert "Each of the others leaves out a block of time and some entities, so every" in page
    assert "Entities that the fit never saw have a calibration of their own, of 4,290 rec" in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--entity", "machine"),
            "--calibrate entities must have two entities with a full",
        ),
        ((), "can be entities only where records belong to some, such as patients"),
        (
            ("--entity", "machine", "--window", "1"),
            "--calibrate entities takes at least 4 entities, got 1 in column 'machine'",
        ),
        (("--entity", "machine", "--calibrate", "recent"), "cannot be recent with a window"),
    ],
)
def test_where_it_cannot_be_it_is_refused(tmp_path: Path, words: tuple[str, ...], says: str):
    fleet(range(1), 400, seed=0).write_csv(tmp_path / "one.csv")
    given = ("--calibrate", "entities", "--time", "ts", *SHORT, *words)
    done = call("train", tmp_path / "one.csv", "--out", tmp_path / "out", *given)
    assert done.returncode in (2, 3) and says in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
