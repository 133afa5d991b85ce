"""A budget for entities that the fit never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import call
from tests.training.series.test_windows import windows_of
from vaewatch.scoring.budget.calibration import CROSS_FITTED
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.promise import entity_blocks
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.series.windows import Windows
from vaewatch.training.train import train

ALPHA, START = 0.1, 1_767_225_600
SETTINGS = {"alpha": ALPHA, "time": "ts", "entity": "machine", "window": 8, "report": False}
SHORT = ("--window", "8", "--alpha", str(ALPHA), "--steps", "60", "--no-report")


def fleet(machines: range, n: int, seed: int, first: int = 0) -> pl.DataFrame:
    """Machines of which each has a level, a swing and a period of its own."""
    frames = []
    for machine in machines:
        own = np.random.default_rng([7, machine])
        level, swing, period = own.normal(), own.uniform(0.5, 2), own.uniform(6, 20)
        noise = 0.1 * np.random.default_rng([seed, machine]).normal(size=(2, n))
        time = first + np.arange(n)
        wave = swing * np.sin(2 * np.pi * time / period + own.uniform(0, 6))
        columns = {"ts": START + 60 * time, "machine": [f"m{machine}"] * n}
        columns |= {"a": level + wave + noise[0], "b": 2 * level - wave + noise[1]}
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


@pytest.mark.parametrize(("seed", "entities"), [(0, 4), (1, 9), (2, 14)])
def test_each_entity_is_in_one_fold_and_folds_have_as_many(seed: int, entities: int):
    windows = windows_of(5, seed, entities, n=900)
    owners = np.random.default_rng(seed).integers(0, entities, len(windows.runs))
    windows = Windows(5, windows.runs, windows.moments, owners=owners)
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


def test_alpha_is_that_of_entities_that_the_fit_never_saw(tmp_path: Path):
    fit, others = fleet(range(30), 150, seed=0), fleet(range(500, 600), 60, seed=1, first=300)
    rates = {}
    for calibrates in ("all", "entities"):
        out = tmp_path / calibrates
        train(fit, out, calibrate=calibrates, steps=200, **SETTINGS)
        verdicts = Scorer.load(out).score(others)
        rates[calibrates] = verdicts.is_anomaly[verdicts.judged].mean()
    low, high = read_manifest(tmp_path / "entities").calibration.rate_interval_95
    assert low <= rates["entities"] <= high and rates["entities"] < 1.5 * ALPHA
    assert rates["all"] > 2 * ALPHA  # or nothing is shown


def test_the_command_says_whose_budget_it_is_and_so_does_recalibration(tmp_path: Path):
    fleet(range(30), 60, seed=0).write_csv(tmp_path / "fit.csv")
    fleet(range(500, 530), 60, seed=1).write_csv(tmp_path / "others.csv")
    out = tmp_path / "fleet"
    words = ("--time", "ts", "--entity", "machine", "--calibrate", "entities", *SHORT)
    words += ("--alpha", "0.02")
    done = call("train", tmp_path / "fit.csv", "--out", out, *words)
    assert done.returncode == 0, done.stderr
    assert "Give more entities, or ask for a larger alpha" in done.stderr
    said = " ".join(done.stdout.split())
    assert "each judged by what saw none of it: alpha is that of entities new to the fit" in said
    assert "over time" not in said
    manifest = read_manifest(out)
    assert manifest.training.calibrate == "entities" and manifest.outlook is None
    assert "entities that the fit never saw" in manifest.calibration.rule_means
    assert "New entities are exchangeable" in manifest.calibration.assumes
    new = call("recalibrate", out, tmp_path / "others.csv", "--out", tmp_path / "newer")
    assert new.returncode == 0, new.stderr
    assert "leave out those of entities that were fitted to" in new.stderr
    renewed = read_manifest(tmp_path / "newer").calibration
    assert "New entities are exchangeable" in renewed.assumes
    assert "held out of everything that was learned" in renewed.rule_means


def test_the_report_says_what_was_left_out(tmp_path: Path):
    out = tmp_path / "fleet"
    settings = {**SETTINGS, "report": True, "steps": 60, "calibrate": "entities"}
    train(fleet(range(12), 60, seed=0), out, **settings)
    page = " ".join((out / "report.html").read_text().split())
    assert "Each of the others leaves out some entities, so every window" in page
    assert "Each entity is judged by what saw none of it." in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--entity", "machine"),
            "--calibrate entities must have two entities with a full",
        ),
        ((), "can be entities only where records are judged with those before them"),
        (
            ("--entity", "machine", "--window", "1"),
            "can be entities only where records are",
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
