"""A training step, against the same step by PyTorch's own optimiser on ordinary parameters."""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn
from torch.nn.utils import clip_grad_norm_

from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.elbo import elbo
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import GRADIENT_NORM, Loop, clip_, warm_cosine
from vaewatch.training.vae.step.flat import Flat
from vaewatch.training.vae.step.normals import MOST_READ, Normals
from vaewatch.training.vae.vae import VAE

CPU = torch.device("cpu")
CONFIG = TrainConfig(members=3, served=1, width=5, batch=16, steps=40)


@pytest.fixture
def batches() -> Batches:
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    return Batches.of(x, Folds.draw(90, 3, 1, seed=0).seen(), CPU)


def vae() -> VAE:
    generator = torch.Generator().manual_seed(2)
    return VAE(members=3, features=4, latent=2, width=5, generator=generator)


def reference_steps(network: VAE, batches: Batches, steps: int) -> None:
    """What Loop does, by the book."""
    optimiser = torch.optim.AdamW(
        network.parameters(), betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-4
    )
    generator = torch.Generator().manual_seed(CONFIG.seed)
    normals = Normals(generator, CONFIG.seed)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = CONFIG.learning_rate * warm_cosine(step, CONFIG.steps)
        x = batches.draw(CONFIG.batch, generator)
        noisy = x + batches.noise * normals.draw(x.shape)
        eps = normals.draw(torch.Size((3, CONFIG.batch, 2)))
        optimiser.zero_grad()
        elbo(network, x, noisy, eps).loss().backward()  # type: ignore[no-untyped-call]
        clip_grad_norm_(network.parameters(), GRADIENT_NORM * math.sqrt(3))
        optimiser.step()


def test_steps_are_those_of_adamw_with_clipped_gradients(batches: Batches):
    ours, theirs = vae(), vae()
    loop = Loop(ours, batches, CONFIG)
    for _ in range(30):
        loop.step()
    reference_steps(theirs, batches, 30)
    for (name, got), want in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=2e-6, msg=name)


def test_a_flattened_network_is_the_network():
    plain = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 2))
    flattened = copy.deepcopy(plain)
    flat = Flat.of(flattened)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(flattened(x), plain(x))

    plain(x).square().sum().backward()
    flattened(x).square().sum().backward()
    want = torch.cat([p.grad.flatten() for p in plain.parameters() if p.grad is not None])
    torch.testing.assert_close(flat.gradients, want)

    flat.weights.zero_()
    assert not flattened(x).any()


@pytest.mark.parametrize("shape", [(8, 128, 30), (8, 256, MOST_READ // 2048 + 1)])
def test_the_noise_of_steps_is_normal_and_new_each_time(shape: tuple[int, ...]):
    """Read from the table in the first case, drawn in the second."""
    normals = Normals(torch.Generator().manual_seed(3), seed=3)
    first, second = (normals.draw(torch.Size(shape)).flatten().numpy() for _ in range(2))
    for drawn in (first, second):
        assert kstest(drawn[::37], "norm").pvalue > 1e-4
    both = np.corrcoef(first, second)[0, 1]
    assert abs(both) < 5 / math.sqrt(len(first))
    again = Normals(torch.Generator().manual_seed(3), seed=3).draw(torch.Size(shape)).flatten()
    np.testing.assert_array_equal(again.numpy(), first)


@pytest.mark.parametrize(("length", "want"), [(8.0, 2.0), (1.5, 1.5), (0.0, 0.0)])
def test_gradients_are_shortened_and_never_lengthened(length: float, want: float):
    gradients = torch.tensor([0.6, 0.0, -0.8]) * length
    clip_(gradients, 2.0)
    torch.testing.assert_close(gradients, torch.tensor([0.6, 0.0, -0.8]) * want)


def test_the_rate_warms_up_and_ends_at_nothing():
    rates = [warm_cosine(step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 50)
    assert all(before < after for before, after in pairwise(rates[:50]))
    assert all(before > after for before, after in pairwise(rates[50:]))
    assert rates[-1] == pytest.approx(0, abs=1e-12)

    rates = [warm_cosine(step, 800) for step in range(800)]
    assert rates[0] < 0.03 and max(rates) > 0.98 and rates[-1] < 1e-4
