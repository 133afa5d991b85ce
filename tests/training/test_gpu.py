"""The same training on a GPU. What can run on a CPU, too, runs there first; the rest is skipped
where there is no GPU.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr

import vaewatch
from tests.conftest import call, make_frame
from tests.training.series.test_window_model import run_of, series, windows_of
from tests.training.test_resume import DYING
from vaewatch.scoring.artifact import WEIGHTS
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.series.network import WindowNetwork
from vaewatch.training.calibration.out_of_bag import out_of_bag
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.series.export.windows import check_windows_against_torch, export_windows
from vaewatch.training.series.fit import fit_windows
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.elbo import elbo
from vaewatch.training.vae.fit import Fitted, fit_vae, pick_device
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import STEPS_BEFORE_CAPTURE, Loop
from vaewatch.training.vae.step.flat import Flat
from vaewatch.training.vae.step.gradient import Gradient
from vaewatch.training.vae.vae import VAE

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
everywhere = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])

CONFIG = TrainConfig(members=4, served=2, width=16, steps=200, seed=1, device="cuda")
SEEN = Folds.draw(2000, 4, 2, seed=0).seen()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 2))
    return (z @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(2000, 6))).astype(np.float32)


def scores(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    oob = out_of_bag(fitted, x, np.arange(len(x)), kl=True)
    rules, none = (
        Rules(np.zeros(x.shape[1]), 1.0),
        np.zeros((len(fitted.folds.judges), x.shape[1])),
    )
    return oob.reconstruction(rules, none) + oob.kl


def make_loop(x: np.ndarray, room: int | None = None, device: str = "cuda") -> Loop:
    generator, home = torch.Generator().manual_seed(0), torch.device(device)
    vae = VAE(members=4, features=6, latent=3, width=16, generator=generator).to(home)
    return Loop(vae, Batches.of(x, SEEN, home, room=room), CONFIG)


def weights(fitted: Fitted) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in fitted.vae.parameters()])


@gpu
def test_a_fit_on_the_gpu_ranks_records_as_one_on_the_cpu_does(x: np.ndarray):
    cpu = scores(fit_vae(x, replace(CONFIG, device="cpu")), x)
    assert spearmanr(cpu, scores(fit_vae(x, CONFIG), x)).statistic > 0.98


@gpu
def test_a_gpu_beyond_those_of_the_machine_is_a_wrong_setting():
    gpus = torch.cuda.device_count()
    with pytest.raises(SettingError, match=f"finds none after cuda:{gpus - 1}"):
        pick_device(f"cuda:{gpus}")


@gpu
@pytest.mark.parametrize("room", [None, 0], ids=["resident", "sent"])
def test_captured_steps_are_the_eager_ones(x: np.ndarray, room: int | None):
    captured, eager = make_loop(x, room), make_loop(x, room)
    assert captured.batches.resident == (room is None)
    for step in range(50):
        captured.step()
        assert captured.captured == (step >= STEPS_BEFORE_CAPTURE)
        if not eager.batches.resident:
            eager.batches.send(eager.sent, eager.draws)
        eager._step()
    torch.testing.assert_close(captured.flat.weights, eager.flat.weights, rtol=1e-4, atol=1e-5)
    got, want = captured.terms().loss(), eager.terms().loss()
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


@everywhere
@pytest.mark.parametrize("room", [None, 0], ids=["resident", "sent"])
def test_steps_lower_the_loss_wherever_the_records_are(
    x: np.ndarray, device: str, room: int | None
):
    loop = make_loop(x, room, device)
    loop.step()
    first = loop.terms().loss().item()
    for _ in range(CONFIG.steps - 1):
        loop.step()
    assert loop.terms().loss().item() < first


@gpu
def test_records_that_are_sent_are_those_that_each_member_may_see(x: np.ndarray):
    batches = Batches.of(x, SEEN, torch.device("cuda"), room=0)
    sent = torch.empty(4, 64, 6, device="cuda")
    batches.send(sent, torch.Generator().manual_seed(0))
    for member, drawn in enumerate(sent.cpu().numpy()):
        allowed = {row.tobytes() for row in x[SEEN[member]]}
        assert all(row.tobytes() in allowed for row in drawn)


@everywhere
@pytest.mark.parametrize("model", ["vae", "ae"])
def test_two_fits_are_the_same_fit(x: np.ndarray, device: str, model: str):
    config = replace(CONFIG, device=device, model=model, steps=60)
    one, two = fit_vae(x, config), fit_vae(x, config)
    torch.testing.assert_close(weights(one), weights(two), rtol=0, atol=0)
    assert one.log == two.log
    assert one.log[-1].reconstruction_nll < one.log[0].reconstruction_nll
    assert (one.log[-1].kl == 0) == (model == "ae")


@everywhere
def test_windows_are_exported_and_judged_on_the_host_wherever_their_vae_is_fitted(device: str):
    values = series(500, 2)
    fit = fit_windows(windows_of(values, 16), replace(CONFIG, device=device, steps=60))
    assert {p.device.type for p in fit.model.vae.parameters()} == {"cpu"}
    network = WindowNetwork(export_windows(fit.model, kl=True), 16)
    check_windows_against_torch(fit.model, network, run_of(values[:60], 16))
    odd = values[:100].copy()
    odd[60, 0] += 6
    _, far = network.forward([run_of(odd, 16)])
    scores = far.reconstruction + far.neighbour
    assert scores[45:61].min() > scores[:45].max()


@everywhere
@pytest.mark.parametrize(("precision", "apart"), [("highest", 1e-5), ("high", 5e-3)])
def test_gradients_are_those_in_double_precision(device: str, precision: str, apart: float):
    generator = torch.Generator().manual_seed(0)
    vae = VAE(members=4, features=24, latent=12, width=64, generator=generator)
    x = torch.randn(4, 128, 24, generator=generator)
    eps = torch.randn(4, 128, 12, generator=generator)
    exact = copy.deepcopy(vae).double()
    elbo(exact, x.double(), x.double(), eps.double()).loss().backward()  # type: ignore[no-untyped-call]
    want = torch.cat([p.grad.flatten() for p in exact.parameters() if p.grad is not None])

    vae = vae.to(device)
    flat, before = Flat.of(vae), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        Gradient(vae, 1.0).write(x.to(device), x.to(device), eps.to(device))
    finally:
        torch.set_float32_matmul_precision(before)
    got = flat.gradients.double().cpu()
    assert (got - want).norm() < apart * want.norm()


@everywhere
@pytest.mark.parametrize("model", ["vae", "ae"])
def test_an_artifact_is_scored_wherever_it_was_fitted(tmp_path: Path, device: str, model: str):
    settings = {"members": 4, "served": 2, "width": 16, "steps": 100, "id": "order"}
    vaewatch.train(
        make_frame(800), tmp_path / "it", alpha=0.05, device=device, model=model, **settings
    )
    odd = make_frame(50, seed=2).with_columns(pl.col("amount") + 1000, label=pl.lit(1))
    labelled = pl.concat([make_frame(200, seed=1).with_columns(label=pl.lit(0)), odd])
    labelled.write_csv(tmp_path / "labelled.csv")
    done = call("evaluate", tmp_path / "it", tmp_path / "labelled.csv")
    assert done.returncode == 0, done.stderr
    assert "BROKEN" not in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_the_benchmark_says_where_nothing_was_measured(tmp_path: Path):
    out = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert "Not measured on a GPU: this machine has none." in out.read_text()
    assert "`python -m benchmarks.gpu --out results.md`" in out.read_text()
    done = subprocess.run([*command[:-2], "--device", "cpu"], capture_output=True, text=True)
    assert done.returncode == 2 and "a rehearsal measures nothing" in done.stderr


@gpu
def test_a_killed_run_goes_on_in_a_fresh_process(tmp_path: Path):
    make_frame(800).write_csv(tmp_path / "normal.csv")
    (tmp_path / "dying.py").write_text(DYING)
    words = ["train", tmp_path / "normal.csv", "--width=16", "--steps=400", "--device=cuda"]
    words += ["--alpha=0.05", "--id=order", "--no-report", "--quiet", "--out"]

    def run(*program: object) -> int:
        command = [sys.executable, *map(str, program)]
        return subprocess.run(command, env=os.environ, timeout=120).returncode

    assert run("-m", "vaewatch", *words, tmp_path / "whole") == 0
    assert run(tmp_path / "dying.py", *words, tmp_path / "killed") == 1
    assert run("-m", "vaewatch", *words, tmp_path / "killed", "--resume") == 0
    whole, killed = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "killed"))
    assert whole == killed
