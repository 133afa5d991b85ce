"""Settings: one check and one text, from the command line, from Python and in scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import vaewatch
from tests.conftest import call, make_frame
from vaewatch.__main__ import _explain
from vaewatch.scoring.errors import CalibrationError, OutputError, SettingError
from vaewatch.scoring.manifest import Settings
from vaewatch.scoring.schema import Kind
from vaewatch.training.config import TrainConfig
from vaewatch.training.sample import sample
from vaewatch.training.vae.fit import pick_device

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"alpha": 2}, "alpha must be at least 1e-09 and below 1, got 2."),
    ({"alpha": "often"}, "setting 'alpha' must be a number, got 'often'."),
    ({"steps": "many"}, "setting 'steps' must be a whole number, got 'many'."),
    ({"steps": 2.5}, "setting 'steps' must be a whole number, got 2.5."),
    ({"steps": True}, "setting 'steps' must be a whole number, got True."),
    ({"seed": -1}, "setting 'seed' must be at least 0, got -1."),
    ({"seed": 2**70}, "setting 'seed' must be at most 9223372036854775807"),
    ({"batch": 0}, "setting 'batch' must be at least 1, got 0."),
    ({"neighbours": -5}, "setting 'neighbours' must be at least 0, got -5."),
    ({"learning_rate": 0}, "setting 'learning_rate' must be finite and above 0, got 0."),
    ({"learning_rate": float("inf")}, "setting 'learning_rate' must be finite and above 0"),
    ({"beta": float("nan")}, "setting 'beta' must be finite and at least 0, got nan."),
    ({"model": "gan"}, "setting 'model' must be one of vae, ae, got 'gan'."),
    ({"device": "cuda:x"}, "setting 'device' must be auto, cpu, cuda or cuda:N, got 'cuda:x'."),
    ({"contamination_robust": "yes"}, "'contamination_robust' must be true or false, got 'yes'."),
    ({"id": 3}, "setting 'id' must be a column's name, got 3."),
    ({"time": ""}, "setting 'time' must be a column's name, got ''."),
    ({"ignore": "country"}, "setting 'ignore' must be a list of columns' names, got 'country'."),
    ({"kinds": {"a": "text"}}, "a kind must be one of numeric, categorical, boolean, got 'text'."),
    ({"kinds": "a=numeric"}, "setting 'kinds' must map columns to kinds, got 'a=numeric'."),
    ({"nieghbours": 3}, "there is no setting 'nieghbours'. Did you mean 'neighbours'?"),
    ({"colour": 3}, "there is no setting 'colour'. Known: alpha, seed, model"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_setting_is_named_from_python(
    tmp_path: Path, mixed_frame: pl.DataFrame, settings: dict[str, Any], message: str
):
    with pytest.raises(SettingError) as caught:
        vaewatch.train(mixed_frame, tmp_path / "it", **settings)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings", [{"alpha": 2}, {"steps": "many"}, {"neighbours": -5}, {"beta": -1}]
)
def test_the_estimator_says_the_same(settings: dict[str, Any]):
    with pytest.raises(SettingError) as caught:
        TrainConfig.of(settings)
    with pytest.raises(ValueError) as of_estimator:
        vaewatch.VAEDetector(**settings).fit(np.ones((100, 3)))
    assert str(of_estimator.value) == str(caught.value)


def test_a_wrong_setting_is_refused_before_anything_slow_is_imported(tmp_path: Path):
    code = (
        "import sys; sys.argv = ['vaewatch', 'train', 'nope.csv', '--out', 'it', '--steps', '0']\n"
        "from vaewatch.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    print(stop.code)\n"
        "print([m for m in ('torch', 'polars', 'onnxruntime', 'pandas') if m in sys.modules])"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["2", "[]"], done.stderr


def test_numbers_of_numpy_are_kept_as_plain_ones():
    config = TrainConfig(steps=np.int64(7), alpha=np.float32(0.5), members=np.int32(5))
    assert [type(v) for v in (config.steps, config.alpha, config.members)] == [int, float, int]


def test_kinds_may_be_given_as_texts():
    config = TrainConfig(kinds={"a": "categorical"}, ignore=["b"])
    assert config.kinds == {"a": Kind.CATEGORICAL} and config.ignore == ("b",)


def test_the_manifest_holds_every_setting_in_order():
    assert list(Settings.__struct_fields__) == [field.name for field in fields(TrainConfig)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_here_is_a_wrong_setting(tmp_path: Path, device: str):
    done = call("train", tmp_path / "nope.csv", "--out", tmp_path / "it", "--device", device)
    assert done.returncode == 2
    assert f"setting 'device' must be a device of this machine, got '{device}'" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("alpha", ["2", "0", "nan"])
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "ARTIFACT", "nope.csv"),
        ("recalibrate", "ARTIFACT", "nope.csv", "--out", "new"),
        ("score", "ARTIFACT", "FILE"),
    ],
    ids=lambda words: words[0],
)
def test_an_alpha_that_nothing_could_certify_is_usage(
    artifact_path: Path, tmp_path: Path, words: tuple[str, ...], alpha: str
):
    make_frame(20).write_csv(tmp_path / "it.csv")
    named = {"ARTIFACT": artifact_path, "FILE": tmp_path / "it.csv", "new": tmp_path / "new"}
    done = call(*(named.get(word, word) for word in words), "--alpha", alpha)
    assert done.returncode == 2
    share = " It is a share: 0.01 is 1%." if float(alpha) >= 1 else ""
    text = f"error: alpha must be at least 1e-09 and below 1, got {float(alpha):g}.{share}\n"
    assert done.stderr == text


def test_an_alpha_that_more_records_could_certify_is_bad_data(artifact_path: Path):
    with pytest.raises(CalibrationError):
        vaewatch.load(artifact_path).score([], alpha=0.0001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "setting 'n' must be at least 1, got 0."),
        ({"n": 3, "seed": -1}, "setting 'seed' must be at least 0, got -1."),
    ],
)
def test_a_sample_checks_its_settings(artifact_path: Path, settings: dict[str, Any], message: str):
    with pytest.raises(SettingError, match=message):
        sample(artifact_path, **settings)


@pytest.mark.parametrize(
    ("error", "code"), [(SettingError("it is wrong."), 2), (OutputError("it is full."), 1)]
)
def test_errors_of_the_tree_become_exit_codes(error: Exception, code: int):
    assert _explain(error) == (str(error), code)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """PyTorch says that there are two GPUs; gives the devices that were made current."""
    current: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    return current


@pytest.mark.parametrize(
    ("name", "ranks", "device"),
    [
        ("cuda", {}, "cuda:0"),
        ("auto", {}, "cuda:0"),
        ("cuda:1", {}, "cuda:1"),
        ("auto", {"RANK": "9", "WORLD_SIZE": "10", "LOCAL_RANK": "1"}, "cuda:1"),
    ],
)
def test_a_process_takes_the_gpu_of_its_place_on_the_machine(
    two_gpus: list[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    ranks: dict[str, str],
    device: str,
):
    for variable, value in {**ranks, "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(variable, value)
    assert pick_device(name) == torch.device(device)
    assert two_gpus == [device]


def test_more_processes_than_gpus_are_a_wrong_setting(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(SettingError, match="got 2 for 3. Start it with --nproc-per-node 2"):
        pick_device("auto")
    assert not two_gpus


def test_more_members_serve_where_they_cost_little():
    assert TrainConfig().suiting(24).served == 4
    assert TrainConfig().suiting(25).served == 2
    assert TrainConfig(members=4).suiting(3).served == 2
    assert TrainConfig(members=3).suiting(3).served == 1
    assert TrainConfig(served=5).suiting(3).served == 5
