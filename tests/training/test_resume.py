"""A killed run goes on where it was; several processes fit one model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors import safe_open

from tests.conftest import SMALL, VAEWATCH, call, make_frame
from vaewatch.scoring.artifact import WEIGHTS
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.train import _run_key
from vaewatch.training.vae.checkpoint import Checkpoint, Snapshot

FAST = ["--width=8", "--members=4", "--served=2", "--alpha=0.05", "--id=order"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def csv(tmp_path: Path, mixed_frame: pl.DataFrame) -> Path:
    mixed_frame.write_csv(tmp_path / "normal.csv")
    return tmp_path / "normal.csv"


def kill_after_a_checkpoint(words: list[str], checkpoint: Path) -> None:
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=ONE_THREAD)
    for _ in range(6000):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL, "the run ended before it could be killed"


def test_a_killed_run_ends_with_the_artifact_of_an_undisturbed_one(csv: Path, tmp_path: Path):
    words = ["train", csv, *FAST, "--steps=600", "--quiet", "--threads=1"]
    assert call(*words, "--out", tmp_path / "whole").returncode == 0
    broken = list(map(str, [VAEWATCH, *words, "--out", tmp_path / "killed"]))
    checkpoint = tmp_path / ".killed.checkpoint"
    kill_after_a_checkpoint(broken, checkpoint)
    assert not (tmp_path / "killed").exists()
    done = call(*words, "--out", tmp_path / "killed", "--resume")
    assert done.returncode == 0, done.stderr
    assert not checkpoint.exists()
    for path in (tmp_path / "whole").iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (tmp_path / "killed" / path.name).read_bytes(), path.name


def test_an_interrupted_run_says_how_to_go_on(csv: Path, tmp_path: Path):
    words = [VAEWATCH, "train", csv, *FAST, "--steps=100000", "--out", tmp_path / "it"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env=ONE_THREAD, text=True)
    checkpoint = tmp_path / ".it.checkpoint"
    for _ in range(6000):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"with --resume to go on, or delete '{checkpoint}'." in said
    assert "Traceback" not in said and checkpoint.exists()


def test_a_run_does_not_go_on_from_other_settings(csv: Path, tmp_path: Path):
    Checkpoint(tmp_path / ".it.checkpoint", "another run", resume=False).save(Snapshot(1, {}, []))
    done = call("train", csv, "--out", tmp_path / "it", *FAST, "--resume")
    assert done.returncode == 4
    assert "is of other data or settings" in done.stderr
    assert (
        call("train", csv, "--out", tmp_path / "it", *FAST, "--no-report", "--steps=5").returncode
        == 0
    )


def test_a_run_on_another_kind_of_device_is_named(csv: Path, tmp_path: Path):
    made = Snapshot(1, {}, [], device="cuda")
    Checkpoint(tmp_path / ".it.checkpoint", "its key", resume=False).save(made)
    words = ["train", csv, "--out", tmp_path / "it", *FAST, "--resume", "--device=cpu"]
    done = call(*words)
    assert done.returncode == 4
    assert "is of a run on cuda, so a run on cpu cannot go on from it" in done.stderr
    assert "Pass --device cuda, or train without --resume." in done.stderr


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / ".it.checkpoint").write_bytes(b"half a file")
    with pytest.raises(ArtifactError, match="must be readable.*Train without --resume"):
        Checkpoint.beside(tmp_path / "it", "key", resume=True).load(torch.device("cpu"))


def test_without_a_checkpoint_a_run_starts_anew(csv: Path, tmp_path: Path):
    words = ["train", csv, "--out", tmp_path / "it", *FAST, "--no-report", "--resume"]
    done = call(*words, "--steps=5")
    assert done.returncode == 0, done.stderr


def test_two_processes_give_the_same_model_within_noise(csv: Path, tmp_path: Path):
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    words = ["train", csv, "--alpha=0.05", "--id=order", *options, "--steps=200", "--device=cpu"]
    assert call(*words, "--no-report", "--out", tmp_path / "one").returncode == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    together = [*launch, "-m", "vaewatch", *words, "--out", tmp_path / "two"]
    done = subprocess.run(
        list(map(str, together)), capture_output=True, text=True, timeout=120, env=ONE_THREAD
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("alarm budget") == 1
    records = make_frame(200, seed=4).to_dicts()
    one, two = (Scorer.load(tmp_path / name).score(records).score for name in ("one", "two"))
    assert np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(two)))[0, 1] > 0.8


# Ends every process at step 250, after the checkpoint of step 200.
DYING = """
import os
from vaewatch.__main__ import main
from vaewatch.training.vae.loop import Loop
real = Loop.step
def step(self):
    real(self)
    if self.done == 250:
        os._exit(1)
Loop.step = step
main()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_processes_that_go_on_each_draw_batches_of_their_own(csv: Path, tmp_path: Path):
    (tmp_path / "dying.py").write_text(DYING)
    words = ["train", csv, *FAST, "--steps=400", "--device=cpu", "--no-report", "--quiet", "--out"]

    def together(*program: object) -> set[int]:
        """What two processes end with that are started as torchrun starts them, but without it."""
        env = {**ONE_THREAD, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        command = list(map(str, (sys.executable, *program)))
        each = [
            subprocess.Popen(command, env={**env, "WORLD_SIZE": "2", "RANK": k, "LOCAL_RANK": k})
            for k in "01"
        ]
        return {process.wait(120) for process in each}

    assert together("-m", "vaewatch", *words, tmp_path / "whole") == {0}
    assert together(tmp_path / "dying.py", *words, tmp_path / "killed") == {1}
    with safe_open(tmp_path / ".killed.checkpoint", "pt") as file:
        first, second = file.get_tensor("generator")
    assert not torch.equal(first, second)
    assert together("-m", "vaewatch", *words, tmp_path / "killed", "--resume") == {0}
    weights = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_a_run_does_not_go_on_from_another_kind_of_device(tmp_path: Path):
    config = TrainConfig()
    keys = {_run_key("data", config, torch.device(name)) for name in ("cpu", "cuda:0", "cuda:1")}
    assert len(keys) == 2
