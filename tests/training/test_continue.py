"""`vaewatch train --from`: a fit that starts from an artifact's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

import vaewatch
from tests.conftest import Done, call, make_frame
from vaewatch.scoring.artifact import SEEN, WEIGHTS
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.errors import ArtifactError, CalibrationError, SchemaError, SettingError
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.parent import STEPS, Parent
from vaewatch.training.split.split import split_later
from vaewatch.training.train import _run_key

FAST = ("--steps", 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("continue")


@pytest.fixture(scope="module")
def newer() -> pl.DataFrame:
    """Another period: amounts went up, and there is a new country."""
    frame = make_frame(300, seed=5).with_columns(pl.col("amount") + 40)
    return pl.concat([frame[:280], frame[280:].with_columns(country=pl.lit("BE"))])


@pytest.fixture(scope="module")
def data(folder: Path, mixed_frame: pl.DataFrame, newer: pl.DataFrame) -> tuple[Path, Path]:
    """What the shared artifact was trained on, and what came later."""
    mixed_frame.write_parquet(folder / "old.parquet")
    newer.write_parquet(folder / "new.parquet")
    return folder / "old.parquet", folder / "new.parquet"


@pytest.fixture(scope="module")
def done(artifact_path: Path, data: tuple[Path, Path], folder: Path) -> Done:
    """Leaves `folder / "next"`."""
    return call("train", *data, "--from", artifact_path, "--out", folder / "next", *FAST)


def test_the_manifest_names_the_parent_and_how_many_records_are_its_own(
    done: Done, artifact_path: Path, folder: Path
):
    assert done.returncode == 0, done.stderr
    old, new = read_manifest(artifact_path), read_manifest(folder / "next")
    assert new.parent == old.version != new.version
    assert new.parent_records == old.metrics.fit_records == 700 and new.metrics.records == 1100
    assert new.calibration_fingerprint is None and old.parent_records is None
    assert f"continues     {old.version}, 700 of whose records are among these" in done.stdout
    shown = call("inspect", folder / "next").stdout
    assert f"parent       {old.version}, whose fit this one continues" in shown


def test_settings_are_the_parent_s_unless_given(done: Done, artifact_path: Path, folder: Path):
    old, new = (read_manifest(path).training for path in (artifact_path, folder / "next"))
    assert (new.id, new.members, new.served, new.width) == ("order", 4, 2, 16)
    assert new.alpha == old.alpha == 0.05 and new.steps == 40
    parent = Parent.load(artifact_path)
    settings = TrainConfig.of(parent.settings({"alpha": 0.1, "neighbours": 7}))
    assert (settings.alpha, settings.neighbours, settings.steps) == (0.1, 7, STEPS)
    assert settings.device == "auto" and settings.latent == parent.vae.latent


def test_a_fit_starts_where_the_other_one_ended(
    artifact_path: Path, mixed_frame: pl.DataFrame, tmp_path: Path
):
    """A step that moves nothing changes no layer between the first and the last, which follow the
    scales of the records.
    """
    rest = {"steps": 1, "learning_rate": 1e-12, "report": False, "alpha": 0.05}
    vaewatch.train(mixed_frame[::-1], tmp_path / "it", continue_from=artifact_path, **rest)
    old, new = (load_file(path / WEIGHTS) for path in (artifact_path, tmp_path / "it"))
    assert old.keys() == new.keys()
    for name in old.keys() - {"enter.weight", "enter.bias", "leave.weight", "leave.bias"}:
        if name != "log_sigma":
            np.testing.assert_allclose(new[name], old[name], atol=1e-7, err_msg=name)
    parent = Parent.load(artifact_path)
    same = parent.weights(parent.artifact.vectorizer, seed=0)
    for name, tensor in old.items():
        np.testing.assert_allclose(same[name].numpy(), tensor, atol=1e-7, err_msg=name)


def test_a_few_steps_from_old_weights_are_worth_many(
    artifact_path: Path, data: tuple[Path, Path], tmp_path: Path
):
    loss = {}
    for name, parent in (("anew", None), ("continued", artifact_path)):
        settings = {"steps": 30, "width": 16, "members": 4, "served": 2, "id": "order"}
        path = tmp_path / name
        vaewatch.train(data, path, continue_from=parent, report=False, alpha=0.1, **settings)
        metrics = read_manifest(path).metrics
        loss[name] = metrics.reconstruction_nll + metrics.kl
    assert loss["continued"] < loss["anew"]


def test_the_new_period_is_normal_then(
    done: Done, scorer: Scorer, folder: Path, newer: pl.DataFrame
):
    fresh = make_frame(400, seed=9).with_columns(pl.col("amount") + 40).to_dicts()
    assert scorer.score_records(fresh).is_anomaly.mean() > 0.4
    assert Scorer.load(folder / "next").score_records(fresh).is_anomaly.mean() < 0.15


def test_only_new_records_calibrate(done: Done, folder: Path):
    """The weights have seen the others, which would look too normal."""
    manifest = read_manifest(folder / "next")
    assert manifest.calibration.rule == "split" and manifest.calibration.n == 120
    assert manifest.metrics.fit_records == 980


def test_the_split_of_a_later_fit_keeps_what_was_seen_apart():
    def known(n: int, old: int) -> np.ndarray:
        return np.arange(n) < old

    split = split_later(known(1000, 700), TrainConfig(alpha=0.05, seed=3))
    assert set(split.fit) | set(split.held_out) == set(range(1000))
    assert split.held_out.min() >= 700 and len(split.held_out) == 120  # what 1,000 others give
    # half of 60 and no less
    assert len(split_later(known(760, 700), TrainConfig(alpha=0.05, seed=3)).held_out) == 20
    again = split_later(known(1000, 700), TrainConfig(alpha=0.05, seed=3))
    np.testing.assert_array_equal(again.held_out, split.held_out)
    with pytest.raises(CalibrationError, match="at least 200 records beside those .+, got 199"):
        split_later(known(899, 700), TrainConfig(alpha=0.01, seed=3))
    among = split_later(np.arange(1000) % 2 == 0, TrainConfig(alpha=0.05, seed=3))
    assert (among.held_out % 2).all() and set(range(0, 1000, 2)) <= set(among.fit)


def test_a_checkpoint_of_another_parent_is_another_run(tmp_path: Path):
    keys = {
        _run_key("data", TrainConfig(), torch.device("cpu"), parent) for parent in (None, "a", "b")
    }
    assert len(keys) == 3


def test_the_fit_records_are_known_in_any_order(
    artifact_path: Path, data: tuple[Path, Path], tmp_path: Path
):
    words = ("train", *reversed(data), "--from", artifact_path, "--out", tmp_path / "it", *FAST)
    done = call(*words)
    assert done.returncode == 0 and "700 of whose records are among these" in done.stdout
    assert read_manifest(tmp_path / "it").parent_records == 700
    assert read_manifest(tmp_path / "it").calibration.n == 120  # of the others


def test_an_artifact_without_hashes_knows_its_records_if_they_come_first(
    artifact_path: Path, data: tuple[Path, Path], tmp_path: Path
):
    """As those of earlier releases."""
    shutil.copytree(artifact_path, tmp_path / "old")
    (tmp_path / "old" / SEEN).unlink()
    for order, known in ((data, "800"), (data[::-1], "none")):
        words = ("train", *order, "--from", tmp_path / "old", "--out", tmp_path / known, *FAST)
        assert f"{known} of whose records are among these" in call(*words).stdout


def test_a_grandchild_knows_the_first_fit_s_records(
    done: Done, folder: Path, mixed_frame: pl.DataFrame, newer: pl.DataFrame, tmp_path: Path
):
    """Those that its parent's weights have seen, and those of its parent's parent."""
    settings = {"steps": 10, "report": False, "alpha": 0.1}
    path = tmp_path / "it"
    vaewatch.train(make_frame(300, seed=31), path, continue_from=folder / "next", **settings)
    assert read_manifest(path).parent_records == 0
    every = pl.concat([make_frame(300, seed=32), mixed_frame, newer, make_frame(300, seed=31)])
    shuffled = every.sample(fraction=1, shuffle=True, seed=1)
    vaewatch.train(shuffled, tmp_path / "it-2", continue_from=path, **settings)
    fits = [read_manifest(folder / "next"), read_manifest(path)]
    seen = sum(manifest.metrics.fit_records for manifest in fits)
    assert read_manifest(tmp_path / "it-2").parent_records == seen


@pytest.mark.parametrize(
    ("name", "value"), [("width", 32), ("members", 5), ("latent", 3), ("model", "ae")]
)
def test_a_setting_that_the_weights_do_not_allow_is_refused(
    name: str, value: object, artifact_path: Path, newer: pl.DataFrame, tmp_path: Path
):
    got = f"setting '{name}' must be .+, as in the artifact that the fit continues, got {value}"
    with pytest.raises(SettingError, match=got):
        vaewatch.train(newer, tmp_path / "it", continue_from=artifact_path, **{name: value})


def test_other_columns_are_refused(artifact_path: Path, newer: pl.DataFrame, tmp_path: Path):
    for frame, lacks in (
        (newer.drop("age"), "the input lacks 'age'"),
        (newer.with_columns(weight=1.5), "the artifact lacks 'weight'"),
    ):
        with pytest.raises(SchemaError, match=lacks):
            vaewatch.train(frame, tmp_path / "it", continue_from=artifact_path)
    settings = {"ignore": ["weight"], "steps": 10, "report": False}
    wide = newer.with_columns(weight=1.5)
    vaewatch.train(wide, tmp_path / "it", continue_from=artifact_path, **settings)


def test_a_column_keeps_its_kind(artifact_path: Path, newer: pl.DataFrame, tmp_path: Path):
    """Whole numbers where there were names are names of 0 and 1."""
    frame = newer.with_columns(country=(pl.col("amount") > 140).cast(pl.Int64))
    settings = {"steps": 10, "report": False}
    new = vaewatch.train(frame, tmp_path / "it", continue_from=artifact_path, **settings)
    country = next(c for c in new.artifact.schema.columns if c.name == "country")
    assert country.kind == "categorical" and set(country.categories) == {"0", "1"}


def test_an_artifact_without_weights_is_refused(
    artifact_path: Path, newer: pl.DataFrame, tmp_path: Path
):
    bare = tmp_path / "bare"
    bare.mkdir()
    manifest = json.loads((artifact_path / "manifest.json").read_text())
    del manifest["sha256"][WEIGHTS]
    for name in manifest["sha256"]:
        (bare / name).write_bytes((artifact_path / name).read_bytes())
    (bare / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=f"must hold {WEIGHTS}"):
        vaewatch.train(newer, tmp_path / "it", continue_from=bare)


def test_a_recalibrated_one_forgets_whose_records_came_first(
    done: Done, folder: Path, tmp_path: Path
):
    make_frame(200, seed=21).write_parquet(tmp_path / "later.parquet")
    words = ("recalibrate", folder / "next", tmp_path / "later.parquet")
    assert call(*words, "--out", tmp_path / "it", "--accept-lost-detection").returncode == 0
    new = read_manifest(tmp_path / "it")
    assert new.parent == read_manifest(folder / "next").version and new.parent_records is None
