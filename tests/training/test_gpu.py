"""The same training on a GPU: skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from vaewatch.scoring.errors import SettingError
from vaewatch.training.calibration.out_of_bag import out_of_bag
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.fit import Fitted, fit_vae, pick_device
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import Loop
from vaewatch.training.vae.vae import VAE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")

CONFIG = TrainConfig(members=4, served=2, width=16, steps=200, seed=1)
SEEN = Folds.draw(2000, 4, 2, seed=0).seen()


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 2))
    return (z @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(2000, 6))).astype(np.float32)


def scores(fitted: Fitted, x: np.ndarray) -> np.ndarray:
    oob = out_of_bag(fitted, x, np.arange(len(x)), kl=True)
    return oob.reconstruction(Rules(np.zeros(x.shape[1]), 1.0)) + oob.kl


def gpu_loop(x: np.ndarray, room: int | None) -> Loop:
    device = torch.device("cuda")
    generator = torch.Generator().manual_seed(0)
    vae = VAE(members=4, features=6, latent=3, width=16, generator=generator).to(device)
    return Loop(vae, Batches.of(x, SEEN, device, room), CONFIG)


def test_a_fit_on_the_gpu_ranks_records_as_one_on_the_cpu_does(x: np.ndarray):
    cpu = scores(fit_vae(x, CONFIG), x)
    gpu = scores(fit_vae(x, TrainConfig(**{**CONFIG.__dict__, "device": "cuda"})), x)
    assert spearmanr(cpu, gpu).statistic > 0.8


def test_a_gpu_beyond_those_of_the_machine_is_a_wrong_setting():
    gpus = torch.cuda.device_count()
    with pytest.raises(SettingError, match=f"finds none after cuda:{gpus - 1}"):
        pick_device(f"cuda:{gpus}")


@pytest.mark.parametrize("room", [None, 0])
def test_steps_lower_the_loss_wherever_the_records_are(x: np.ndarray, room: int | None):
    loop = gpu_loop(x, room)
    assert loop.batches.resident == (room is None)
    loop.step()
    first = loop.terms().loss().item()
    for _ in range(CONFIG.steps - 1):
        loop.step()
    assert loop.terms().loss().item() < first


def test_records_that_are_sent_are_those_that_each_member_may_see(x: np.ndarray):
    batches = Batches.of(x, SEEN, torch.device("cuda"), room=0)
    drawn = batches.draw(64, torch.Generator().manual_seed(0)).cpu().numpy()
    for member in range(4):
        allowed = {row.tobytes() for row in x[SEEN[member]]}
        assert all(row.tobytes() in allowed for row in drawn[member])
